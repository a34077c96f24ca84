"""What a run would need elsewhere: its real steps compiled for devices that are not here, without any weights."""
