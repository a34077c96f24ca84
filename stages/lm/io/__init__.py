"""A Hugging Face model folder in and out: config, weights, tokenizer, card."""
