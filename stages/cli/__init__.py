"""One file per `candor` command; stages/__main__.py joins them."""
