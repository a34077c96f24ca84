"""The params of params.yaml: one module per stage with a frozen dataclass; a stage imports only its own module."""
