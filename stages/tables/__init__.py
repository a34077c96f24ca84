"""The schema of every table, and parquet files that are checked against it (polars, pyarrow)."""
