"""The location of a source's files, and how they are read (BIG-bench tasks, tables of the hub)."""
