"""Arrays: model, weights, tokens, scoring, training and checkpoints.

Runs by itself on a machine with jax, flax, optax, orbax-checkpoint, numpy, tokenizers and safetensors.

Letters of array axes: B batch rows, T query positions, S key positions, L layers, D model width, N heads, K key-value
heads, H head width, F feed-forward width, V vocabulary, Q positions that predict targets, C target tokens, P capacity
of a shared prefix, M queries of a key-value head (its N/K heads, T positions each), R rank of an adapter, G groups of
devices, I and O inputs and outputs of a projection, flattened, X any; a digit is a size. Local arrays carry them as
suffixes (`logits_BQV`); public functions carry jaxtyping, which the test run checks.
"""
