"""Greedy decoding with a KV cache, and answers in the model's own words."""
