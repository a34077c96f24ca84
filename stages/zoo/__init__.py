"""Models by name: the registry, and how a name becomes a model folder."""
