"""The knobs of params.yaml: a module per stage with one frozen dataclass; a stage imports only its own."""
