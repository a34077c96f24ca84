"""The schema of every table, and parquet files that keep to it (polars, pyarrow)."""
