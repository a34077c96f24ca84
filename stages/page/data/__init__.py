"""What the report page shows: report files, tables, labels and sentences."""
