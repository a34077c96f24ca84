"""The report page: what the metrics, tables and curves say, in words, tables and figures (altair, jinja2; no jax)."""
