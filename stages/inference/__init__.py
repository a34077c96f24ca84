"""Between polars tables and `lm`: opens a model, asks it the questions of a table, keeps its answers."""
