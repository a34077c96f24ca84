"""Which rows pass, and a report of what the sources hold (stage clean)."""
