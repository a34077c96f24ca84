"""The report page: metrics, tables and curves as sentences, tables and figures (altair, jinja2; no jax)."""
