"""The data of the report page: report files, tables, labels and sentences."""
