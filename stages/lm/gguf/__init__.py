"""GGUF files: de-quantised weights, config and tokenizer (stage base only)."""
