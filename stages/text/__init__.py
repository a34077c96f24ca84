"""Words: sources, templates, suites and the schemas of every table (polars; no jax)."""
