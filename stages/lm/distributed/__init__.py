"""Several processes as one run: environment variables, launch, collectives, heartbeat."""
