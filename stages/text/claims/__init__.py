"""Shared by claims, prompts, lessons and suites: templates, names, seeded draws, sums, overlaps, questions."""
