"""Text processing: claims, cleaning, prompts, mixtures (polars; no jax)."""
