"""Lessons that teach a small model to judge claims, and the training mixture (stages lesson and mix)."""
