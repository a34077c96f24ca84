"""Many devices: which axis of which array is split among them, by name, in one table.

A mesh has two axes. Over `fsdp` a step's rows are split, and with them weights, gradients and optimizer state, which
are gathered layer by layer where they are needed (fully sharded data parallelism). Over `tensor` heads, feed-forward
and vocabulary are split, so that each matrix product is shared. An axis that the mesh does not divide stays whole. One
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

# The axis of the mesh that splits an axis of a weight: D model width, N heads, K key-value heads, F feed-forward width,
# V vocabulary. L layers, H head width and R an adapter's rank stay whole.
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
# Norms of each head; the others are of the model's width.
QK_NORMS = ("query_norm", "key_norm")

Path = tuple[Any, ...]


def device_mesh(tensor: int = 1) -> Mesh:
    """All devices of all processes, `tensor` of which share each matrix product.

    Raises:
        ModelError: the number of devices is no multiple of `tensor`.
    """
    devices = jax.devices()
    if len(devices) % tensor:
        raise ModelError(f"{len(devices)} devices cannot be split into groups of {tensor} (CANDOR_TENSOR_PARALLEL)")
    return jax.make_mesh((len(devices) // tensor, tensor), (FSDP, TENSOR), axis_types=(AxisType.Auto, AxisType.Auto))


def axes_of(path: Path) -> str:
    """The axes of the leaf at `path` of a decoder, a letter each."""
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
    """How the leaf at `path` lies on the mesh."""
    names = (MESH_AXES.get(axis) for axis in axes_of(path))
    split = (name if name and size % mesh.shape[name] == 0 else None for name, size in zip(names, shape, strict=True))
    return NamedSharding(mesh, PartitionSpec(*split))


def state_shardings(mesh: Mesh, state: nnx.State) -> nnx.State:
    """A state of the shardings of `state`, leaf by leaf."""
    flat = nnx.to_flat_state(state)
    return nnx.from_flat_state([(path, leaf.replace(param_sharding(mesh, path, leaf.shape))) for path, leaf in flat])


def shard_state(state: nnx.State, mesh: Mesh) -> nnx.State:
    """`state` with its arrays on the mesh."""
    return jax.tree.map(put, state, state_shardings(mesh, state))


def put(array: Any, sharding: Sharding) -> Array:
    """`array`, which lies there or which every process holds in whole, on the devices of `sharding`."""
    if isinstance(array, Array) and array.sharding == sharding:
        return array
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    held = np.asarray(array)
    return jax.make_array_from_callback(held.shape, sharding, lambda index: held[index])


def rows_sharding(mesh: Mesh) -> NamedSharding:
    """How a step's stacked batches lie: parts are taken one after another, the rows of each are split."""
    return NamedSharding(mesh, PartitionSpec(None, FSDP))


def split_rows(x: Array) -> Array:
    """`x` with its first axis split over the mesh that is set, and the others whole; as it is where none is."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or x.shape[0] % mesh.shape[FSDP]:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec(FSDP))


def gather_to_host(array: Array) -> np.ndarray:
    """An array on this host, gathered from all processes where several hold it; all of them have to ask."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def sharding_fn(mesh: Mesh) -> Callable[[Path, tuple[int, ...]], NamedSharding]:
    """Where a decoder's leaves lie on the mesh, for reading them straight into it."""
    return lambda path, shape: param_sharding(mesh, path, shape)
