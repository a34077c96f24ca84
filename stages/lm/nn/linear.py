"""A linear projection with an optional bias and an optional low-rank adapter (Hu et al. 2021, arXiv 2106.09685)."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from stages.lm.nn.shapes import Array


class LoraParam(nnx.Variable[Array]):
    """A matrix of a low-rank adapter; not an `nnx.Param`, so that NNX filters separate adapters from weights."""


class Linear(nnx.Module):
    """A projection from the last axes `inputs` to the axes `outputs`."""

    def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...], bias: bool, rngs: nnx.Rngs):
        scale = 1.0 / math.sqrt(math.prod(inputs))
        self.inputs = inputs
        self.outputs = outputs
        self.kernel = nnx.Param(scale * jax.random.normal(rngs.params(), (*inputs, *outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs)) if bias else None
        self.lora_a: LoraParam | None = nnx.data(None)
        self.lora_b: LoraParam | None = nnx.data(None)
        self.lora_scale = 0.0

    def __call__(self, x: Array) -> Array:
        """Projects `x` [..., *inputs] to [..., *outputs], in the dtype of `x`."""
        inputs, outputs = math.prod(self.inputs), math.prod(self.outputs)
        x_TI = x.reshape(-1, inputs)
        kernel_IO = self.kernel[...].astype(x.dtype).reshape(inputs, outputs)
        if self.lora_a is None or self.lora_b is None:
            y_TO = x_TI @ kernel_IO
        else:
            a_IR = self.lora_a[...].astype(x.dtype).reshape(inputs, -1)
            b_RO = self.lora_scale * self.lora_b[...].astype(x.dtype).reshape(-1, outputs)
            y_TO = x_TI @ kernel_IO + (x_TI @ a_IR) @ b_RO
        y = y_TO.reshape(*x.shape[: x.ndim - len(self.inputs)], *self.outputs)
        return y if self.bias is None else y + self.bias[...].astype(x.dtype)
