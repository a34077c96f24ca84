"""Orbax checkpoints: resume state in scratch, and the exported parameters that are a run's output."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from orbax.checkpoint import v1 as ocp

from stages.core.errors import ModelError
from stages.core.files import atomic_dir, disk_full_as
from stages.lm.distributed import processes
from stages.lm.io import hf_folder
from stages.lm.io.hf_config import read_config
from stages.lm.io.safetensors_read import open_tensors
from stages.lm.io.safetensors_write import as_pending, save_tensors
from stages.lm.io.weights import ShardingFn, on_first_device, tensors_of
from stages.lm.nn.config import ModelConfig
from stages.lm.nn.decoder import Decoder
from stages.lm.training.state import TrainState

# Two, because a checkpoint that was being written when the machine died is unusable.
MAX_TO_KEEP = 2


def save(scratch: Path, step: int, state: TrainState) -> None:
    """Writes the state after `step` steps and deletes all but the latest MAX_TO_KEEP checkpoints."""
    with disk_full_as(scratch):
        ocp.save(_step_folder(scratch, step), _as_tree(state), overwrite=True)
    if processes.is_first():
        for old in _steps(scratch)[:-MAX_TO_KEEP]:
            shutil.rmtree(_step_folder(scratch, old))


def restore_latest(scratch: Path, fresh: TrainState) -> tuple[int, TrainState]:
    """The latest saved state and its step, or (0, `fresh`) if there is none.

    Raises:
        ModelError: the latest checkpoint is damaged.
    """
    # A checkpoint that one process sees exists for all, since they share the folder.
    latest = int(processes.all_max(float(max(_steps(scratch), default=0))))
    if not latest:
        return 0, fresh
    folder = _step_folder(scratch, latest)
    tree = _as_tree(fresh)
    try:
        restored = ocp.load(folder, jax.tree.map(_abstract, tree))
    except Exception as error:  # Orbax raises many kinds for a damaged folder
        raise ModelError(
            f"the checkpoint {folder} cannot be read ({type(error).__name__}: {error}); delete it to resume from an "
            "earlier one or to start over"
        ) from error
    saved_leaves = iter(jax.tree.leaves(restored))
    leaves = [next(saved_leaves) if leaf.size else leaf for leaf in jax.tree.leaves(fresh)]
    return latest, jax.tree.unflatten(jax.tree.structure(fresh), leaves)


def export(model: Decoder, out: Path) -> None:
    """Writes the model's parameters as a nested dictionary of arrays, which Orbax can load without this project."""
    ocp.save(out.resolve(), nnx.to_pure_dict(nnx.state(model, nnx.Param)))


def export_once(model: Decoder, out: Path) -> None:
    """As `export`, unless `out` exists: a resumed run repeats steps, with the same weights."""
    if not processes.all_max(float(out.exists())):
        export(model, out)


def as_model_folder(checkpoint: Path, model: Path, out: Path, sharding: ShardingFn = on_first_device) -> None:
    """Writes the parameters that `export` wrote to `checkpoint` as a model folder.

    Everything else, and the data type of each tensor, is that of the folder `model`. Parameters are loaded onto the
    devices with `sharding`. With several processes, every process must call this; the first one writes, and the others
    wait for it.

    Raises:
        ModelError: the checkpoint cannot be read.
    """
    weights = tensors_of(_load_exported(checkpoint, read_config(model / hf_folder.CONFIG), sharding))
    if processes.is_first():
        with atomic_dir(out) as target:
            hf_folder.copy_small_files(model, target)
            types = {key: tensor.type for key, tensor in open_tensors(model).items()}
            save_tensors(as_pending(weights, types), target)
    processes.all_max(0.0)


def _load_exported(checkpoint: Path, config: ModelConfig, sharding: ShardingFn) -> Decoder:
    graph, state = nnx.split(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0))))

    def abstract(path: Sequence[Any], leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        names = tuple(str(key.key) for key in path)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding(names, leaf.shape))

    abstract_params = jax.tree_util.tree_map_with_path(abstract, nnx.to_pure_dict(state))
    try:
        params = ocp.load(checkpoint.resolve(), abstract_params)
    except Exception as error:  # Orbax raises many kinds for a damaged folder
        raise ModelError(
            f"the checkpoint {checkpoint} cannot be read ({type(error).__name__}: {error}); delete it, and `dvc repro` "
            "makes it again"
        ) from error
    nnx.replace_by_pure_dict(state, params)
    return nnx.merge(graph, state)


def _as_tree(state: TrainState) -> dict[str, object]:
    # Leaves in a plain list: Orbax needs no class of ours to read them, and their order is that of the fresh state.
    # Without empty arrays (a validation log without validation): Orbax 0.12 waits for them until it times out.
    return {"leaves": [leaf for leaf in jax.tree.leaves(state) if leaf.size]}


def _abstract(leaf: object) -> object:
    if isinstance(leaf, np.ndarray):
        return leaf
    # With the sharding of this machine; otherwise Orbax would use that of the machine that saved.
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None))  # type: ignore[attr-defined]


def _steps(scratch: Path) -> list[int]:
    if not scratch.exists():
        return []
    return sorted(int(path.name) for path in scratch.iterdir() if path.name.isdigit())


def _step_folder(scratch: Path, step: int) -> Path:
    return scratch.resolve() / str(step)
