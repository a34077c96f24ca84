"""Language models as JAX arrays: network, weights, tokens, scoring, generation, training, checkpoints.

Runs on its own on a machine with jax, flax, optax, orbax-checkpoint, numpy, tokenizers and safetensors.

A local array carries its axes as a suffix of its name, one letter per axis (`logits_BQV`); 1 is an axis of size one.
Public functions have jaxtyping shapes, which the test run checks. The letters:

    B  batch rows
    T  query positions
    S  key positions
    L  layers
    D  model width
    N  heads
    K  key-value heads
    H  head width
    F  feed-forward width
    V  vocabulary
    Q  positions that predict targets
    C  target tokens
    P  capacity of a shared prefix
    M  queries of a key-value head: its N/K heads, T positions each
    R  rank of an adapter
    G  groups of devices
    I  inputs of a projection, flattened
    O  outputs of a projection, flattened
    X  any axis
"""
