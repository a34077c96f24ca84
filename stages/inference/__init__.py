"""Between polars tables and `lm`: opens a model, scores the questions of a table, caches the answers."""
