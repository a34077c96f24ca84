"""Greedy decoding with a KV cache, and free-text answers to questions."""
