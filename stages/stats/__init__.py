"""Statistics with their uncertainty: bootstrap intervals and the headline measures (numpy, polars; no jax)."""
