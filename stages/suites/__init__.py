"""Evaluation suites: the questions of each, and their registry."""
