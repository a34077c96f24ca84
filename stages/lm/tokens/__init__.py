"""Text to token ids, and token ids to trees with shared prefixes; plain and chat prompt formats."""
