"""Arrays: model, weights, tokens, scoring, training and checkpoints.

Runs by itself on a machine with jax, flax, optax, orbax-checkpoint, numpy, tokenizers and safetensors.

Letters of array axes: B batch, T query position, S key position, L layer, D model width, N heads, K key-value heads,
H head width, F feed-forward width, V vocabulary, Q positions that predict, C scored tokens. Local arrays carry them as
suffixes (`logits_BQV`); public functions carry jaxtyping, which the test run checks.
"""
