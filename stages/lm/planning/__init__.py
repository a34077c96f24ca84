"""Time and memory of a run on other devices: compiles its real steps for devices that are not here, without weights."""
