"""Lessons for a small model, and the mixture to train on (stages lesson and mix)."""
