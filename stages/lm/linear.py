"""A projection, with its bias and its low-rank adapter (Hu et al. 2021, arXiv 2106.09685) where there are any."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from stages.lm.shapes import Array


class Adapter(nnx.Variable[Array]):
    """A low-rank adapter's matrix: no `nnx.Param`, so that a model's own weights and its adapters are told apart."""


class Linear(nnx.Module):
    """A projection of the last axes `inputs` onto `outputs`."""

    def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...], bias: bool, rngs: nnx.Rngs):
        scale = 1.0 / math.sqrt(math.prod(inputs))
        self.inputs = inputs
        self.outputs = outputs
        self.kernel = nnx.Param(scale * jax.random.normal(rngs.params(), (*inputs, *outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs)) if bias else None
        self.lora_a: Adapter | None = nnx.data(None)
        self.lora_b: Adapter | None = nnx.data(None)
        self.lora_scale = 0.0

    def __call__(self, x: Array) -> Array:
        """`x` [..., *inputs] projected, [..., *outputs], in the type of `x`."""
        kernel = self.kernel[...].astype(x.dtype)
        if self.lora_a is None or self.lora_b is None:
            y = jnp.tensordot(x, kernel, axes=len(self.inputs))
        else:
            y = self._adapted(x, kernel, self.lora_a[...].astype(x.dtype), self.lora_b[...].astype(x.dtype))
        return y if self.bias is None else y + self.bias[...].astype(x.dtype)

    def _adapted(self, x: Array, kernel: Array, a: Array, b: Array) -> Array:
        inputs, outputs = math.prod(self.inputs), math.prod(self.outputs)
        b_RO = self.lora_scale * b.reshape(-1, outputs)
        y_TO = _low_rank_sum(x.reshape(-1, inputs), kernel.reshape(inputs, outputs), a.reshape(inputs, -1), b_RO)
        return y_TO.reshape(*x.shape[: x.ndim - len(self.inputs)], *self.outputs)


@jax.custom_vjp
def _low_rank_sum(x_TI: Array, kernel_IO: Array, a_IR: Array, b_RO: Array) -> Array:
    return x_TI @ kernel_IO + (x_TI @ a_IR) @ b_RO


def _forward(x_TI: Array, kernel_IO: Array, a_IR: Array, b_RO: Array) -> tuple[Array, tuple[Array, ...]]:
    low_TR = x_TI @ a_IR
    return x_TI @ kernel_IO + low_TR @ b_RO, (x_TI, kernel_IO, a_IR, b_RO, low_TR)


def _backward(kept: tuple[Array, ...], d_TO: Array) -> tuple[Array, ...]:
    x_TI, kernel_IO, a_IR, b_RO, low_TR = kept
    # Written out since, of the derivative that JAX takes, XLA on a CPU computes the incoming gradient anew for each of
    # the thin products that read it (bench/adapters).
    d_TO = jax.lax.optimization_barrier(d_TO)
    d_low_TR = d_TO @ b_RO.T
    return (
        d_TO @ kernel_IO.T + d_low_TR @ a_IR.T,
        x_TI.T @ d_TO,
        (d_low_TR.T @ x_TI).T,
        low_TR.T @ d_TO,
    )


_low_rank_sum.defvjp(_forward, _backward)
