"""The history: what runs found, kept as Parquet files by day, and what DuckDB can say of them."""
