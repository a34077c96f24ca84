"""Checks, by the compiler's memory analysis, that a training step fits into memory before the first one runs."""

import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from stages.core.errors import ModelError
from stages.core.shared_types import GIB
from stages.lm.nn.shapes import Mesh
from stages.lm.nn.sharding import rows_sharding
from stages.lm.training.packing import Packed, PackedShape
from stages.lm.training.state import TrainConfig


def bytes_beyond_arguments(step: Any, *arguments: Any) -> int:
    """Memory that a jitted function needs besides its arguments; compiles it, and the first call reuses that."""
    analysis = step.lower(*arguments).compile().memory_analysis()
    return int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes)


def abstract_batches(shape: PackedShape, parts: int, mesh: Mesh) -> Packed:
    """The shapes, types and shardings of a step's micro-batches, stacked."""
    sharding = rows_sharding(mesh)
    ints_BT = jax.ShapeDtypeStruct((parts, shape.rows, shape.length), np.int32, sharding=sharding)
    ints_GC = jax.ShapeDtypeStruct((parts, shape.groups, shape.targets), np.int32, sharding=sharding)
    weights_GC = jax.ShapeDtypeStruct((parts, shape.groups, shape.targets), np.float32, sharding=sharding)
    return Packed(ints_BT, ints_BT, ints_BT, ints_GC, ints_GC, weights_GC)  # type: ignore[arg-type]


def free_bytes(host: Callable[[], int]) -> int:
    """Free bytes of the first device: of its own memory, or its share of the host's if it has none (a CPU)."""
    stats = jax.local_devices()[0].memory_stats()
    return int(stats["bytes_limit"] - stats["bytes_in_use"]) if stats else host() // jax.local_device_count()


def peak_bytes() -> int:
    """The peak of memory in use: of the first device, or of this process if the device has no memory of its own."""
    stats = jax.local_devices()[0].memory_stats()
    if stats:
        return int(stats["peak_bytes_in_use"])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def check_memory(config: TrainConfig, needed_bytes: Callable[[TrainConfig], int], free: int) -> None:
    """Checks that the largest step of a run needs at most `free` bytes.

    Raises:
        ModelError: it needs more; the message names settings with which it would fit.
    """
    needed = needed_bytes(config)
    if needed <= free:
        return
    problem = f"a training step needs {needed / GIB:.1f} GiB of memory, and {free / GIB:.1f} GiB are free"
    for settings, smaller in _smaller_configs(config):
        reduced = needed_bytes(smaller)
        if reduced <= free:
            raise ModelError(
                f"{problem}; with {settings} it needs {reduced / GIB:.1f} GiB, for the same results except rounding"
            )
    raise ModelError(f"{problem}; lower finetune.batch_size or finetune.max_tokens, or set finetune.method=lora")


def _smaller_configs(config: TrainConfig) -> Iterator[tuple[str, TrainConfig]]:
    """Configs with the same results that need less memory, and the settings that make them; the fastest first."""
    if not config.remat:
        yield "finetune.remat=true", replace(config, remat=True)
    for parts in range(config.gradient_accumulation_steps + 1, config.batch_size + 1):
        if config.batch_size % parts == 0:
            yield (
                f"finetune.remat=true and finetune.gradient_accumulation_steps={parts}",
                replace(config, remat=True, gradient_accumulation_steps=parts),
            )
