"""The judge's and the fine-tuning's real step, compiled from shapes alone for any devices.

It compiles what the stages run: the functions of `stages.lm.scoring.forward` and `stages.lm.training.step`, with the
shapes of their own batches and rows and the shardings of `stages.lm.nn.sharding`. There are no weights anywhere.
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
from stages.lm.planning.counting import ProgramCounts, counted
from stages.lm.planning.hlo import parsed
from stages.lm.scoring.batches import BatchArrays, TokenBudget, batches
from stages.lm.scoring.forward import token_logprobs
from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.tokens.trees import token_tree
from stages.lm.training.memory import abstract_batches
from stages.lm.training.optimizer import OptimizerConfig, make_optimizer, optimizer_shardings
from stages.lm.training.packing import PackedShape, packed_shapes
from stages.lm.training.step import compiled_step

# Of the prompts that are planned for: fed tokens, and tokens of a choice. A prompt of the paper's form has about a
# hundred, and ` (A)` has three, of which ` (B)` shares the first.
PROMPT_TOKENS, CHOICE_TOKENS = 128, 3


@dataclass(frozen=True)
class Recipe:
    """What of a fine-tuning decides its step; `lora` is None where all weights are trained."""

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
    """A compiled step: rows of a call, and per chip the bytes it takes, and what it does.

    `counts` is None where the compiler refused it for want of memory; then `bytes` is what it said is needed (0: it
    did not say).
    """

    rows: int
    bytes: int
    counts: ProgramCounts | None


def accelerator_dtype(named: Dtype) -> jnp.dtype:
    """The type that a param names, as `compute_dtype` has it on an accelerator."""
    return jnp.dtype("bfloat16" if named == "default" else named)


def mesh_of(devices: Sequence[Any], tensor: int) -> Mesh:
    """The mesh of `stages.lm.nn.sharding.device_mesh`, of devices that are not here."""
    if len(devices) % tensor:
        raise ModelError(f"{len(devices)} devices cannot be split into groups of {tensor}")
    shape, names = (len(devices) // tensor, tensor), (FSDP, TENSOR)
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto, AxisType.Auto), devices=devices)


def judge_program(config: ModelConfig, dtype: jnp.dtype, mesh: Mesh, tokens: int) -> Program:
    """A batch of questions of PROMPT_TOKENS, `tokens` of them for each group of devices."""
    graph, state = nnx.split(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0))))
    state = _lying(_held(state, dtype), mesh)
    batch = next(batches([token_tree(_question())], mesh.shape[FSDP], TokenBudget(tokens, tokens)))
    split = NamedSharding(mesh, PartitionSpec(FSDP))
    arrays = BatchArrays(*(jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=split) for array in batch.arrays))
    with jax.set_mesh(mesh):
        lowered = token_logprobs.lower(graph, state, None, arrays, dtype=dtype, mesh=mesh)
    return _compiled(lowered, batch.arrays.tokens_BT.shape[0], mesh)


def training_program(config: ModelConfig, recipe: Recipe, mesh: Mesh, examples: int | None = None) -> Program:
    """A step of `examples` (else of the recipe's batch), each of PROMPT_TOKENS."""
    model = nnx.eval_shape(lambda: _decoder(config, recipe.lora))
    kind = nnx.Param if recipe.lora is None else LoraParam
    graph, trained, frozen = nnx.split(model, kind, ...)  # type: ignore[misc]
    trained, frozen = _lying(trained, mesh), _lying(frozen, mesh)
    rule = make_optimizer(recipe.optimizer, recipe.steps)
    state = jax.eval_shape(rule.init, trained)
    optimizer = jax.tree.map(_placed_shape, state, optimizer_shardings(mesh, rule, trained))
    shape = training_shape(recipe, examples or recipe.batch_size, mesh.shape[FSDP])
    # Not within the mesh: the optimizer's own small numbers cannot be computed on devices that are not here.
    step: Any = compiled_step(graph, rule, trained, mesh, recipe.dtype, recipe.remat)
    with jax.set_mesh(mesh):
        lowered = step.lower(
            trained, optimizer, frozen, abstract_batches(shape, recipe.gradient_accumulation_steps, mesh)
        )
    return _compiled(lowered, shape.rows, mesh)


def training_shape(recipe: Recipe, examples: int, groups: int) -> PackedShape:
    """The rows that a part of a step's examples is packed into; none of them begin alike.

    A run's rows are at least as long as its longest example, and that is taken to be as long as it may be.
    """
    length = min(PROMPT_TOKENS, recipe.max_tokens) + 1
    part = [
        PromptCompletion((first, *range(length - 1)), length - CHOICE_TOKENS)
        for first in range(examples // recipe.gradient_accumulation_steps)
    ]
    return packed_shapes([[part]], recipe.max_tokens, groups)[0]


def _question() -> list[PromptCompletion]:
    prompt = tuple(range(PROMPT_TOKENS - CHOICE_TOKENS))
    return [PromptCompletion((*prompt, 0, last, 0), len(prompt)) for last in (1, 2)]


def _decoder(config: ModelConfig, lora: LoraConfig | None) -> Decoder:
    model = Decoder(config, nnx.Rngs(0))
    if lora is not None:
        add_adapters(model, lora, seed=0)
    return model


def _held(state: nnx.State, dtype: jnp.dtype) -> nnx.State:
    """The shapes of `state` in the types that `stages.lm.io.weights` holds a model's weights in."""

    def held(path: Any, leaf: Any) -> Any:
        kind = storage_dtype(tuple(map(str, path)), dtype)
        return leaf.replace(jax.ShapeDtypeStruct(leaf.shape, kind))

    return nnx.from_flat_state([(path, held(path, leaf)) for path, leaf in nnx.to_flat_state(state)])


def _lying(state: nnx.State, mesh: Mesh) -> nnx.State:
    """The shapes of `state`, each with its place on the mesh."""
    return jax.tree.map(_placed_shape, state, state_shardings(mesh, state))


def _placed_shape(leaf: Any, sharding: NamedSharding) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _compiled(lowered: Any, rows: int, mesh: Mesh) -> Program:
    # On simulated devices nothing is run, and machine code is not worth its time.
    options = {"xla_backend_optimization_level": 0} if mesh.devices.flat[0].platform == "cpu" else None
    try:
        compiled = lowered.compile(options)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return Program(rows, _asked_for(str(error)), None)
    memory = compiled.memory_analysis()
    needed = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return Program(rows, int(needed + memory.temp_size_in_bytes), counted(parsed(compiled.as_text()), mesh.size))


def _asked_for(message: str) -> int:
    """The first size that a compiler names where it refuses: what it needs, as in `temporaries (35.30G)`."""
    found = re.search(r"([\d.]+)([KMGT])\b", message)
    return int(float(found.group(1)) * 1024 ** (1 + "KMGT".index(found.group(2)))) if found else 0
