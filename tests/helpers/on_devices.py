"""A program that queries and trains a tiny model on all devices of all processes of a run: `MODEL SCRATCH OUT`.

The environment sets the number of devices and processes before JAX starts. The program writes to OUT the model's scores
and generated tokens, and for each recipe the logs, the weights, how often the step was traced, and the shape of a
device's part of one weight.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from stages.lm.distributed import environment, processes
from stages.lm.distributed.launch import distributed_main
from stages.lm.generation.greedy import STRIDE, Prompt, generate
from stages.lm.io.load import open_model
from stages.lm.io.weights import tensors_of
from stages.lm.lora import adapters
from stages.lm.lora.adapters import LoraConfig
from stages.lm.nn.sharding import device_mesh, sharding_fn
from stages.lm.scoring.scorer import Scorer, score_all
from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.tokens.trees import token_tree
from stages.lm.training import step
from stages.lm.training.loop import train
from stages.lm.training.optimizer import OptimizerConfig
from stages.lm.training.state import TrainConfig, TrainData, TrainHooks, TrainState
from stages.lm.training.step import token_loss

CHOICES = ((3, 4), (3, 5), (6,))
# Several shapes, three choices each, and more trees than a batch for eight devices holds. The last 30 share a prefix.
TREES = [
    token_tree([PromptCompletion((*range(20, 24 + first % 50), *choice), 4 + first % 50) for choice in CHOICES])
    for first in range(150)
] + [
    replace(token_tree([PromptCompletion((*range(20, 60), first, *choice), 41) for choice in CHOICES]), prefix_len=40)
    for first in range(60, 90)
]
RECIPES = ("adamw", "adafactor", "lora")
# Of lengths that fill rows of 32 unevenly.
DATA = TrainData(
    [PromptCompletion(tuple(range(20 + first, 26 + first + first % 9)), 4) for first in range(40)],
    {"short": [PromptCompletion((30, 31, 32), 1)], "long": [PromptCompletion(tuple(range(40, 60)), 2)] * 3},
)


def config_of(recipe: str) -> TrainConfig:
    """Four steps with a checkpoint after the second."""
    name: Any = "adafactor" if recipe == "adafactor" else "adamw"
    optimizer = OptimizerConfig(name, 1e-3, "cosine", warmup_steps=1, weight_decay=0.01, max_grad_norm=1.0)
    return TrainConfig(
        steps=4, batch_size=16, gradient_accumulation_steps=2, save_steps=2, eval_steps=2, keep_steps=(),
        optimizer=optimizer, dtype=jnp.dtype("float32"), remat=True,
    )  # fmt: skip


def hooks_of(scratch: Path) -> TrainHooks:
    """No progress, and memory for everything."""
    return TrainHooks(scratch, 1e9, lambda amount, note: None, lambda: 2**40)


def main(model: Path, scratch: Path, out: Path) -> None:
    """Queries the model, and trains it by every recipe; the first process writes OUT."""
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_disable_most_optimizations", True)
    results: dict[str, Any] = _query(model)
    for recipe in RECIPES:
        results |= {f"{recipe} {name}": value for name, value in _train(recipe, model, scratch / recipe).items()}
    if processes.is_first():
        np.savez(out, **results)


def _query(folder: Path) -> dict[str, Any]:
    mesh, dtype = device_mesh(environment.tensor_parallel()), jnp.dtype("float32")
    decoder = open_model(folder, sharding_fn(mesh)).decoder
    scores = list(score_all(Scorer(decoder, mesh, dtype), TREES, lambda amount, note: None))
    prompts = [Prompt(tuple(range(20, 24 + first)), lambda ids: False) for first in range(60)]
    batches = list(generate(decoder, prompts, STRIDE, dtype, mesh))
    written = {index: ids for batch in batches for index, ids in zip(batch.prompts, batch.ids, strict=True)}
    return {"scores": np.array(scores), "written": np.array([written[index] for index in range(len(prompts))])}


def _train(recipe: str, folder: Path, scratch: Path) -> dict[str, Any]:
    traced = 0

    def counted(*arguments: Any) -> Any:
        nonlocal traced
        traced += 1
        return token_loss(*arguments)

    step.token_loss = counted  # type: ignore[assignment]
    mesh = device_mesh(environment.tensor_parallel())
    decoder = open_model(folder, sharding_fn(mesh)).decoder
    if recipe == "lora":
        adapters.add_adapters(decoder, LoraConfig(("query", "out", "gate", "down"), rank=4, alpha=8.0), seed=3)
    state = train(decoder, DATA, config_of(recipe), hooks_of(scratch), mesh)
    if recipe == "lora":
        adapters.merge_adapters(decoder, ["query", "out", "gate", "down"])
    curves = {"curve": state.train_log, "validation": state.validation_log}
    return tensors_of(decoder) | curves | {"traced": traced, "parts": _parts(decoder.layers.mlp.gate.kernel, state)}


def _parts(kernel: nnx.Param[Any], state: TrainState) -> list[tuple[int, ...]]:
    """The shape of a device's part of the kernel, and of the optimizer's moments for it."""
    full_shape = kernel[...].shape
    moments = [leaf for leaf in jax.tree.leaves(state.optimizer) if leaf.shape == full_shape]
    return [leaf.addressable_shards[0].data.shape for leaf in (kernel[...], *moments)]


if __name__ == "__main__":
    distributed_main(main)(*map(Path, sys.argv[1:]))
