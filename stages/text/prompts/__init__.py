"""The training prompts in the paper's and in other formats, and the shortcut audit (stage prompt)."""
