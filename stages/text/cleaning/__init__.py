"""The cleaning rules, and a report that counts what the sources contain (stage clean)."""
