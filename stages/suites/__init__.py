"""Evaluation suites: what each of them asks, and their registry."""
