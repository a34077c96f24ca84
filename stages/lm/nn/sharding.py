"""Sharding over many devices: one table says which axis of a weight is split over which axis of the mesh.

The mesh has two axes. `fsdp` splits the rows of a step, and also weights, gradients and optimizer state, which are
gathered layer by layer when they are needed (fully sharded data parallelism). `tensor` splits heads, feed-forward and
vocabulary, so that its devices share each matrix product. An axis whose size the mesh does not divide is not split. One
device is a mesh of one.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec, Sharding

from stages.core.errors import ModelError
from stages.lm.nn.shapes import Array, Mesh

FSDP, TENSOR = "fsdp", "tensor"

# The axis of the mesh that splits an axis of a weight (letters as in `stages.lm`). L, H and R are never split.
MESH_AXES = {"D": FSDP, "N": TENSOR, "K": TENSOR, "F": TENSOR, "V": TENSOR}
# Input and output axes of each projection.
PROJECTIONS = {
    "query": ("D", "NH"),
    "key": ("D", "KH"),
    "value": ("D", "KH"),
    "out": ("NH", "D"),
    "gate": ("D", "F"),
    "up": ("D", "F"),
    "down": ("F", "D"),
}
# Norms over a head's width; all others are over the model's width.
QK_NORMS = ("query_norm", "key_norm")

Path = tuple[Any, ...]


def device_mesh(tensor: int = 1) -> Mesh:
    """The mesh of all devices of all processes; `tensor` devices share each matrix product.

    Raises:
        ModelError: the number of devices is not a multiple of `tensor`.
    """
    devices = jax.devices()
    if len(devices) % tensor:
        raise ModelError(f"{len(devices)} devices cannot be split into groups of {tensor} (CANDOR_TENSOR_PARALLEL)")
    return jax.make_mesh((len(devices) // tensor, tensor), (FSDP, TENSOR), axis_types=(AxisType.Auto, AxisType.Auto))


def axes_of(path: Path) -> str:
    """The axes of a decoder's leaf at `path`, one letter each."""
    *above, name = (str(key) for key in path)
    stacked = "L" if above[:1] == ["layers"] else ""
    if name in ("embedding", "head"):
        return "VD"
    if name == "scale":
        return stacked + ("H" if above[-1] in QK_NORMS else "D")
    inputs, outputs = PROJECTIONS[above[-1]]
    kinds = {"kernel": inputs + outputs, "bias": outputs, "lora_a": inputs + "R", "lora_b": "R" + outputs}
    return stacked + kinds[name]


def param_sharding(mesh: Mesh, path: Path, shape: tuple[int, ...]) -> NamedSharding:
    """The sharding of a decoder's leaf at `path` on the mesh."""
    names = (MESH_AXES.get(axis) for axis in axes_of(path))
    split = (name if name and size % mesh.shape[name] == 0 else None for name, size in zip(names, shape, strict=True))
    return NamedSharding(mesh, PartitionSpec(*split))


def state_shardings(mesh: Mesh, state: nnx.State) -> nnx.State:
    """The sharding of each leaf of `state`, as a state of the same structure."""
    flat = nnx.to_flat_state(state)
    return nnx.from_flat_state([(path, leaf.replace(param_sharding(mesh, path, leaf.shape))) for path, leaf in flat])


def shard_state(state: nnx.State, mesh: Mesh) -> nnx.State:
    """`state` with its arrays on the mesh."""
    return jax.tree.map(put, state, state_shardings(mesh, state))


def put(array: Any, sharding: Sharding) -> Array:
    """Puts `array` on the devices of `sharding`; it is already there, or every process has all of it."""
    if isinstance(array, Array) and array.sharding == sharding:
        return array
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    values = np.asarray(array)
    return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])


def rows_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of a step's stacked batches [micro-batch, row, ...]: rows are split, micro-batches are not."""
    return NamedSharding(mesh, PartitionSpec(None, FSDP))


def split_rows(x: Array) -> Array:
    """Splits the first axis of `x` over the mesh that is set; without a mesh, `x` is unchanged."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or x.shape[0] % mesh.shape[FSDP]:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec(FSDP))


def gather_to_host(array: Array) -> np.ndarray:
    """Copies an array to this host; if several processes have parts of it, all must call this."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def sharding_fn(mesh: Mesh) -> Callable[[Path, tuple[int, ...]], NamedSharding]:
    """A function from a leaf's path and shape to its sharding, so that weights are loaded straight onto the mesh."""
    return lambda path, shape: param_sharding(mesh, path, shape)
