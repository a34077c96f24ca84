"""Compiles the real steps of judging and fine-tuning for any devices, from shapes alone.

The functions are those that the stages run, of `stages.lm.scoring.forward` and `stages.lm.training.step`, with the
shapes of their batches and the shardings of `stages.lm.nn.sharding`. No weights are needed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from stages.core.errors import ModelError
from stages.core.shared_types import Dtype
from stages.lm.io.weights import storage_dtype
from stages.lm.lora.adapters import LoraConfig, add_adapters
from stages.lm.nn.config import ModelConfig
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.linear import LoraParam
from stages.lm.nn.shapes import Mesh
from stages.lm.nn.sharding import FSDP, TENSOR, state_shardings
from stages.lm.planning.counting import ProgramCounts, count_program
from stages.lm.planning.hlo import parse_hlo
from stages.lm.scoring.batches import BatchArrays, TokenBudget, batches
from stages.lm.scoring.forward import token_logprobs
from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.tokens.trees import token_tree
from stages.lm.training.memory import abstract_batches
from stages.lm.training.optimizer import OptimizerConfig, make_optimizer, optimizer_shardings
from stages.lm.training.packing import PackedShape, packed_shapes
from stages.lm.training.step import compiled_step

# Input tokens of the prompts to plan for, and tokens of a choice. A prompt of the paper's form has about a hundred
# tokens, and ` (A)` has three, of which ` (B)` shares the first.
PROMPT_TOKENS, CHOICE_TOKENS = 128, 3


@dataclass(frozen=True)
class Recipe:
    """The settings of a fine-tuning that determine its step; `lora` is None if all weights are trained."""

    optimizer: OptimizerConfig
    steps: int
    batch_size: int
    gradient_accumulation_steps: int
    max_tokens: int
    dtype: jnp.dtype
    remat: bool
    lora: LoraConfig | None


@dataclass(frozen=True)
class Program:
    """A compiled step: its rows, and for each chip the bytes of memory that it needs and its counts.

    `counts` is None if the compiler ran out of memory; `bytes` is then the size that its message names (0: none).
    """

    rows: int
    bytes: int
    counts: ProgramCounts | None


def accelerator_dtype(named: Dtype) -> jnp.dtype:
    """The dtype that a param names, where `default` means that of an accelerator, as in `compute_dtype`."""
    return jnp.dtype("bfloat16" if named == "default" else named)


def mesh_of(devices: Sequence[Any], tensor: int) -> Mesh:
    """The mesh that `stages.lm.nn.sharding.device_mesh` would make, for devices that are not here.

    Raises:
        ModelError: the devices cannot be split into groups of `tensor`.
    """
    if len(devices) % tensor:
        raise ModelError(f"{len(devices)} devices cannot be split into groups of {tensor}")
    shape, names = (len(devices) // tensor, tensor), (FSDP, TENSOR)
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto, AxisType.Auto), devices=devices)


def judge_program(config: ModelConfig, dtype: jnp.dtype, mesh: Mesh, tokens: int) -> Program:
    """A batch of questions of PROMPT_TOKENS, `tokens` of them for each group of devices."""
    graph, state = nnx.split(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0))))
    state = _with_shardings(_with_storage_dtypes(state, dtype), mesh)
    batch = next(batches([token_tree(_question())], mesh.shape[FSDP], TokenBudget(tokens, tokens)))
    by_rows = NamedSharding(mesh, PartitionSpec(FSDP))
    arrays = BatchArrays(*(jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=by_rows) for array in batch.arrays))
    with jax.set_mesh(mesh):
        lowered = token_logprobs.lower(graph, state, None, arrays, dtype=dtype, mesh=mesh)
    return _compile(lowered, batch.arrays.tokens_BT.shape[0], mesh)


def training_program(config: ModelConfig, recipe: Recipe, mesh: Mesh, examples: int | None = None) -> Program:
    """A training step with `examples` (default: the recipe's batch), each of PROMPT_TOKENS."""
    model = nnx.eval_shape(lambda: _decoder(config, recipe.lora))
    kind = nnx.Param if recipe.lora is None else LoraParam
    graph, trained, frozen = nnx.split(model, kind, ...)  # type: ignore[misc]
    trained, frozen = _with_shardings(trained, mesh), _with_shardings(frozen, mesh)
    optimizer = make_optimizer(recipe.optimizer, recipe.steps)
    shapes = jax.eval_shape(optimizer.init, trained)
    opt_state = jax.tree.map(_with_sharding, shapes, optimizer_shardings(mesh, optimizer, trained))
    shape = training_shape(recipe, examples or recipe.batch_size, mesh.shape[FSDP])
    # Outside `set_mesh`, since the optimizer's own constants cannot be computed on devices that are not here.
    step: Any = compiled_step(graph, optimizer, trained, mesh, recipe.dtype, recipe.remat)
    with jax.set_mesh(mesh):
        lowered = step.lower(
            trained, opt_state, frozen, abstract_batches(shape, recipe.gradient_accumulation_steps, mesh)
        )
    return _compile(lowered, shape.rows, mesh)


def training_shape(recipe: Recipe, examples: int, groups: int) -> PackedShape:
    """The shape that a micro-batch of a step is packed into, if no two of its examples share a prefix.

    A run's rows are at least as long as its longest example, which is assumed to have the maximum length.
    """
    length = min(PROMPT_TOKENS, recipe.max_tokens) + 1
    part = [
        PromptCompletion((first, *range(length - 1)), length - CHOICE_TOKENS)
        for first in range(examples // recipe.gradient_accumulation_steps)
    ]
    return packed_shapes([[part]], recipe.max_tokens, groups)[0]


def _question() -> list[PromptCompletion]:
    """A question of PROMPT_TOKENS with two choices."""
    prompt = tuple(range(PROMPT_TOKENS - CHOICE_TOKENS))
    return [PromptCompletion((*prompt, 0, last, 0), len(prompt)) for last in (1, 2)]


def _decoder(config: ModelConfig, lora: LoraConfig | None) -> Decoder:
    model = Decoder(config, nnx.Rngs(0))
    if lora is not None:
        add_adapters(model, lora, seed=0)
    return model


def _with_storage_dtypes(state: nnx.State, dtype: jnp.dtype) -> nnx.State:
    """The shapes of `state` in the dtypes that `stages.lm.io.weights` stores a model's weights in."""

    def with_dtype(path: Any, leaf: Any) -> Any:
        stored = storage_dtype(tuple(map(str, path)), dtype)
        return leaf.replace(jax.ShapeDtypeStruct(leaf.shape, stored))

    return nnx.from_flat_state([(path, with_dtype(path, leaf)) for path, leaf in nnx.to_flat_state(state)])


def _with_shardings(state: nnx.State, mesh: Mesh) -> nnx.State:
    """The shapes of `state`, each with its sharding on the mesh."""
    return jax.tree.map(_with_sharding, state, state_shardings(mesh, state))


def _with_sharding(leaf: Any, sharding: NamedSharding) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _compile(lowered: Any, rows: int, mesh: Mesh) -> Program:
    # Nothing runs on simulated devices, so optimising the machine code would waste time.
    options = {"xla_backend_optimization_level": 0} if mesh.devices.flat[0].platform == "cpu" else None
    try:
        compiled = lowered.compile(options)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return Program(rows, _needed_bytes(str(error)), None)
    memory = compiled.memory_analysis()
    needed = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    counts = count_program(parse_hlo(compiled.as_text()), mesh.size)
    return Program(rows, int(needed + memory.temp_size_in_bytes), counts)


def _needed_bytes(message: str) -> int:
    """The first size in a compiler's out-of-memory message, such as `temporaries (35.30G)`: what it needs."""
    match = re.search(r"([\d.]+)([KMGT])\b", message)
    return int(float(match.group(1)) * 1024 ** (1 + "KMGT".index(match.group(2)))) if match else 0
