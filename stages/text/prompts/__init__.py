"""Training prompts, held-out questions in the paper's format and in others, and the shortcut audit (stage prompt)."""
