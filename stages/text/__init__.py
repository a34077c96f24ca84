"""What is made of text: claims, cleaning, prompts, mixtures (polars; no jax)."""
