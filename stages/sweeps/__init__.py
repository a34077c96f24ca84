"""Sweeps: one DVC experiment for each value of a param, and the table of their measures."""
