"""The plan: both steps compiled for every mesh that is tried, the best one, and the largest batch that fits on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from stages.core.shared_types import Advance
from stages.lm.nn.config import ModelConfig
from stages.lm.planning.chips import Topology
from stages.lm.planning.programs import (
    PROMPT_TOKENS,
    Program,
    Recipe,
    judge_program,
    mesh_of,
    training_program,
    training_shape,
)
from stages.lm.planning.roofline import Seconds, seconds
from stages.lm.scoring.batches import accelerator_budget

# Each prompt is asked in both orders of its options.
JUDGED_PROMPTS, ORDERS = 100_000, 2
TRAINED_STEPS = 1_000
# Of a chip's memory; the rest is its runtime's (a TPU v4's compiler is left 30.75 of 32 GiB).
USABLE = 0.95


@dataclass(frozen=True)
class OnMesh:
    """A step on one mesh: how many devices share each matrix product, the program, and its time where it fits."""

    tensor: int
    program: Program
    fits: bool
    seconds: Seconds | None


@dataclass(frozen=True)
class StepPlan:
    """A step on each mesh, the best of them (None: it fits on none), and there how often it is called for all the work.

    `largest` is the size of the largest batch that fits there, in questions a call or examples a step; None where even
    the smallest does not, or where nothing that is compiled shows how memory grows.
    """

    meshes: tuple[OnMesh, ...]
    best: OnMesh | None
    calls: int
    largest: int | None

    def hours(self, chips: int) -> tuple[float, float]:
        """Hours that all calls are expected to take, and chip-hours; of the best mesh."""
        assert self.best is not None and self.best.seconds is not None
        hours = self.calls * self.best.seconds.expected / 3600
        return hours, hours * chips


def tensors_tried(chips: int, config: ModelConfig) -> list[int]:
    """How many devices might share each matrix product: 1, 4 and 16, where that divides chips and heads."""
    return [tensor for tensor in (1, 4, 16) if chips % tensor == 0 and config.heads % tensor == 0]


def judge_plan(
    config: ModelConfig,
    dtype: jnp.dtype,
    topology: Topology,
    devices: Sequence[Any],
    tensors: Sequence[int],
    advance: Advance,
) -> StepPlan:
    """Judging JUDGED_PROMPTS prompts."""

    def program(tensor: int, times: int) -> Program:
        tokens = accelerator_budget(topology.chips // tensor).plain
        return judge_program(config, dtype, mesh_of(devices, tensor), times * tokens)

    meshes = _on_meshes(program, topology, tensors, advance, "judging")
    best = _best(meshes, lambda on: _calls(on.program))
    if best is None:
        return StepPlan(meshes, None, 0, None)
    twice = _doubled(program, best, advance, "judging")
    groups = topology.chips // best.tensor
    return StepPlan(meshes, best, _calls(best.program), _largest_rows(best.program, twice, topology, groups))


def training_plan(
    config: ModelConfig,
    recipe: Recipe,
    topology: Topology,
    devices: Sequence[Any],
    tensors: Sequence[int],
    advance: Advance,
) -> StepPlan:
    """TRAINED_STEPS steps of fine-tuning."""
    in_row = max(1, recipe.max_tokens // PROMPT_TOKENS)

    def program(tensor: int, times: int) -> Program:
        groups = topology.chips // tensor
        rows = training_shape(recipe, recipe.batch_size, groups).rows
        # As many examples as are asked for, or else as fill so many times the rows that these take.
        examples = recipe.batch_size if times == 1 else times * rows * in_row * recipe.gradient_accumulation_steps
        return training_program(config, recipe, mesh_of(devices, tensor), examples)

    meshes = _on_meshes(program, topology, tensors, advance, "fine-tuning")
    best = _best(meshes, lambda on: TRAINED_STEPS)
    if best is None:
        return StepPlan(meshes, None, 0, None)
    twice = _doubled(program, best, advance, "fine-tuning")
    groups = topology.chips // best.tensor
    rows = _largest_rows(best.program, twice, topology, groups)
    return StepPlan(
        meshes, best, TRAINED_STEPS, None if rows is None else rows * in_row * recipe.gradient_accumulation_steps
    )


def _on_meshes(
    program: Callable[[int, int], Program], topology: Topology, tensors: Sequence[int], advance: Advance, what: str
) -> tuple[OnMesh, ...]:
    found = []
    for tensor in tensors:
        compiled = program(tensor, 1)
        fits = compiled.counts is not None and compiled.bytes <= topology.chip.memory
        time = seconds(compiled.counts, topology) if compiled.counts is not None else None
        found.append(OnMesh(tensor, compiled, fits, time))
        advance(1, f"{what}, {tensor} to a product")
    return tuple(found)


def _best(meshes: Sequence[OnMesh], calls: Callable[[OnMesh], int]) -> OnMesh | None:
    fitting = [on for on in meshes if on.fits]
    return min(fitting, key=lambda on: calls(on) * _expected(on), default=None)


def _expected(on: OnMesh) -> float:
    assert on.seconds is not None
    return on.seconds.expected


def _calls(program: Program) -> int:
    return -(-JUDGED_PROMPTS * ORDERS // program.rows)


def _doubled(program: Callable[[int, int], Program], best: OnMesh, advance: Advance, what: str) -> Program:
    compiled = program(best.tensor, 2)
    advance(1, f"{what}, twice the rows")
    return compiled


def _largest_rows(once: Program, twice: Program, topology: Topology, step: int) -> int | None:
    """Rows that fit, in whole `step`s, by the straight line through what two sizes of a call take."""
    if twice.bytes <= once.bytes:
        return None
    a_row = (twice.bytes - once.bytes) / (twice.rows - once.rows)
    room = USABLE * topology.chip.memory - once.bytes
    return max(once.rows, int(once.rows + room / a_row) // step * step)
