"""What claims, prompts, lessons and suites share: templates, names, draws, sums, overlaps, questions."""
