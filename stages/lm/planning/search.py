"""Searches the best mesh for a step: compiles it for every candidate, and finds the largest batch that fits."""

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
from stages.lm.planning.roofline import StepTime, step_time
from stages.lm.scoring.batches import accelerator_budget

# Each prompt is judged in both orders of its options.
JUDGED_PROMPTS, ORDERS = 100_000, 2
TRAINED_STEPS = 1_000
# The share of a chip's memory that a program can use; its runtime takes the rest (1.25 of 32 GiB on a TPU v4).
USABLE_MEMORY = 0.95


@dataclass(frozen=True)
class MeshPlan:
    """A step on one mesh: how many devices share each matrix product, the program, and its time if it compiled."""

    tensor: int
    program: Program
    fits: bool
    seconds: StepTime | None


@dataclass(frozen=True)
class StepPlan:
    """A step on each candidate mesh, the fastest that fits (None: none fits), and the number of calls on it.

    `largest` is the size of the largest batch that fits there, in questions a call or examples a step; None if nothing
    fits, or if doubling the batch did not raise the memory.
    """

    meshes: tuple[MeshPlan, ...]
    best: MeshPlan | None
    calls: int
    largest: int | None

    def hours(self, chips: int) -> tuple[float, float]:
        """The expected hours of all calls on the best mesh, and the chip-hours."""
        assert self.best is not None and self.best.seconds is not None
        hours = self.calls * self.best.seconds.expected / 3600
        return hours, hours * chips


def tensors_tried(chips: int, config: ModelConfig) -> list[int]:
    """Candidates for how many devices share each matrix product: those of 1, 4 and 16 that divide chips and heads."""
    return [tensor for tensor in (1, 4, 16) if chips % tensor == 0 and config.heads % tensor == 0]


def judge_plan(
    config: ModelConfig,
    dtype: jnp.dtype,
    topology: Topology,
    devices: Sequence[Any],
    tensors: Sequence[int],
    advance: Advance,
) -> StepPlan:
    """The plan for judging JUDGED_PROMPTS prompts."""

    def program(tensor: int, times: int) -> Program:
        tokens = accelerator_budget(topology.chips // tensor).plain
        return judge_program(config, dtype, mesh_of(devices, tensor), times * tokens)

    meshes = _plan_meshes(program, topology, tensors, advance, "judging")
    best = _fastest(meshes, lambda mesh: _calls(mesh.program))
    if best is None:
        return StepPlan(meshes, None, 0, None)
    doubled = _with_doubled_batch(program, best, advance, "judging")
    groups = topology.chips // best.tensor
    return StepPlan(meshes, best, _calls(best.program), _largest_rows(best.program, doubled, topology, groups))


def training_plan(
    config: ModelConfig,
    recipe: Recipe,
    topology: Topology,
    devices: Sequence[Any],
    tensors: Sequence[int],
    advance: Advance,
) -> StepPlan:
    """The plan for TRAINED_STEPS steps of fine-tuning."""
    examples_per_row = max(1, recipe.max_tokens // PROMPT_TOKENS)

    def program(tensor: int, times: int) -> Program:
        groups = topology.chips // tensor
        rows = training_shape(recipe, recipe.batch_size, groups).rows
        # The recipe's batch, or for a multiple as many examples as fill that multiple of its rows.
        full = rows * examples_per_row * recipe.gradient_accumulation_steps
        examples = recipe.batch_size if times == 1 else times * full
        return training_program(config, recipe, mesh_of(devices, tensor), examples)

    meshes = _plan_meshes(program, topology, tensors, advance, "fine-tuning")
    best = _fastest(meshes, lambda mesh: TRAINED_STEPS)
    if best is None:
        return StepPlan(meshes, None, 0, None)
    doubled = _with_doubled_batch(program, best, advance, "fine-tuning")
    groups = topology.chips // best.tensor
    rows = _largest_rows(best.program, doubled, topology, groups)
    largest = None if rows is None else rows * examples_per_row * recipe.gradient_accumulation_steps
    return StepPlan(meshes, best, TRAINED_STEPS, largest)


def _plan_meshes(
    program: Callable[[int, int], Program], topology: Topology, tensors: Sequence[int], advance: Advance, step: str
) -> tuple[MeshPlan, ...]:
    plans = []
    for tensor in tensors:
        compiled = program(tensor, 1)
        fits = compiled.counts is not None and compiled.bytes <= topology.chip.memory
        time = step_time(compiled.counts, topology) if compiled.counts is not None else None
        plans.append(MeshPlan(tensor, compiled, fits, time))
        advance(1, f"{step}, {tensor} to a product")
    return tuple(plans)


def _fastest(meshes: Sequence[MeshPlan], calls: Callable[[MeshPlan], int]) -> MeshPlan | None:
    """The mesh on which all calls take the least expected time, of those that the step fits on."""
    fitting = [mesh for mesh in meshes if mesh.fits]
    return min(fitting, key=lambda mesh: calls(mesh) * _expected_seconds(mesh), default=None)


def _expected_seconds(mesh: MeshPlan) -> float:
    assert mesh.seconds is not None
    return mesh.seconds.expected


def _calls(program: Program) -> int:
    return -(-JUDGED_PROMPTS * ORDERS // program.rows)


def _with_doubled_batch(program: Callable[[int, int], Program], best: MeshPlan, advance: Advance, step: str) -> Program:
    compiled = program(best.tensor, 2)
    advance(1, f"{step}, twice the rows")
    return compiled


def _largest_rows(single: Program, doubled: Program, topology: Topology, multiple: int) -> int | None:
    """The most rows that fit, a multiple of `multiple`; extrapolates the memory of two batch sizes linearly."""
    if doubled.bytes <= single.bytes:
        return None
    bytes_per_row = (doubled.bytes - single.bytes) / (doubled.rows - single.rows)
    free = USABLE_MEMORY * topology.chip.memory - single.bytes
    return max(single.rows, int(single.rows + free / bytes_per_row) // multiple * multiple)
