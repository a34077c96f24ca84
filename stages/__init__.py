"""Candor: measures and reduces sycophancy in a language model with simple synthetic data."""
