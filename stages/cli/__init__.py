"""The `candor` commands, one file each; stages/__main__.py registers them."""
