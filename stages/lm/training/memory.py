"""Whether a training step fits into memory, asked of the compiler before the first one."""

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
    """What a jitted function takes besides its arguments; compiles it, which its first call need not do again."""
    found = step.lower(*arguments).compile().memory_analysis()
    return int(found.temp_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes)


def abstract_batches(shape: PackedShape, parts: int, mesh: Mesh) -> Packed:
    """The shapes of a step's stacked parts, without the arrays."""
    split = rows_sharding(mesh)
    rows = jax.ShapeDtypeStruct((parts, shape.rows, shape.length), np.int32, sharding=split)
    predictions = jax.ShapeDtypeStruct((parts, shape.groups, shape.targets), np.int32, sharding=split)
    weights = jax.ShapeDtypeStruct((parts, shape.groups, shape.targets), np.float32, sharding=split)
    return Packed(rows, rows, rows, predictions, predictions, weights)  # type: ignore[arg-type]


def free_bytes(host: Callable[[], int]) -> int:
    """What is free on the first device: its own memory, or its share of the host's where it has none (a CPU)."""
    stats = jax.local_devices()[0].memory_stats()
    return int(stats["bytes_limit"] - stats["bytes_in_use"]) if stats else host() // jax.local_device_count()


def peak_bytes() -> int:
    """The most memory that was in use: on the first device, or by this process where the device has none of its own."""
    stats = jax.local_devices()[0].memory_stats()
    if stats:
        return int(stats["peak_bytes_in_use"])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def check_memory(run: TrainConfig, needs: Callable[[TrainConfig], int], free: int) -> None:
    """Refuses a run whose largest step needs more than `free` bytes, naming knobs with which it would fit.

    Raises:
        ModelError: it does not fit.
    """
    needed = needs(run)
    if needed <= free:
        return
    problem = f"a training step needs {needed / GIB:.1f} GiB of memory, and {free / GIB:.1f} GiB are free"
    for words, other in _smaller(run):
        smaller = needs(other)
        if smaller <= free:
            raise ModelError(f"{problem}; {words} needs {smaller / GIB:.1f} GiB, for the same results except rounding")
    raise ModelError(f"{problem}; lower finetune.batch_size or finetune.max_tokens, or set finetune.method=lora")


def _smaller(run: TrainConfig) -> Iterator[tuple[str, TrainConfig]]:
    if not run.remat:
        yield "finetune.remat=true", replace(run, remat=True)
    for parts in range(run.gradient_accumulation_steps + 1, run.batch_size + 1):
        if run.batch_size % parts == 0:
            yield (
                f"finetune.remat=true and finetune.gradient_accumulation_steps={parts}",
                replace(run, remat=True, gradient_accumulation_steps=parts),
            )
