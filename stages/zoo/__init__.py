"""Models by name: the registry, and resolving a name to a model folder."""
