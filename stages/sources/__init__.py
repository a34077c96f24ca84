"""Where a source is, and how its files are read (BIG-bench tasks, tables of the hub)."""
