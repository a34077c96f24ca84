"""The dtype that a param names, for the backend in use."""

import jax
import jax.numpy as jnp

from stages.core.shared_types import Dtype


def compute_dtype(dtype: Dtype) -> jnp.dtype:
    """The dtype to compute in; `default` is float32 on a CPU and bfloat16 elsewhere."""
    if dtype != "default":
        return jnp.dtype(dtype)
    return jnp.dtype("float32" if jax.default_backend() == "cpu" else "bfloat16")
