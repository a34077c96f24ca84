"""Asks and trains a tiny model on all devices of all processes of a run, as a program of its own: `MODEL SCRATCH OUT`.

How many devices and processes there are is said by the environment, before JAX starts. OUT gets what the model answers
and writes, and what came of each recipe: its curves, its weights, how often the step was traced, and how large a
device's part of one weight is.
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
# Of several shapes, three choices each; more than eight devices take at once. The last thirty share a prefix.
TREES = [
    token_tree([PromptCompletion((*range(20, 24 + first % 50), *choice), 4 + first % 50) for choice in CHOICES])
    for first in range(150)
] + [
    replace(token_tree([PromptCompletion((*range(20, 60), first, *choice), 41) for choice in CHOICES]), prefix_len=40)
    for first in range(60, 90)
]
RECIPES = ("adamw", "adafactor", "lora")
# Of lengths that fill rows of 32 unevenly.
MATERIAL = TrainData(
    [PromptCompletion(tuple(range(20 + first, 26 + first + first % 9)), 4) for first in range(40)],
    {"short": [PromptCompletion((30, 31, 32), 1)], "long": [PromptCompletion(tuple(range(40, 60)), 2)] * 3},
)


def run_of(recipe: str) -> TrainConfig:
    """Four steps with a checkpoint after the second."""
    optimizer: Any = "adafactor" if recipe == "adafactor" else "adamw"
    rule = OptimizerConfig(optimizer, 1e-3, "cosine", warmup_steps=1, weight_decay=0.01, max_grad_norm=1.0)
    return TrainConfig(
        steps=4, batch_size=16, gradient_accumulation_steps=2, save_steps=2, eval_steps=2, keep_steps=(),
        optimizer=rule, dtype=jnp.dtype("float32"), remat=True,
    )  # fmt: skip


def outside_of(scratch: Path) -> TrainHooks:
    """Nothing is told, and there is room for everything."""
    return TrainHooks(scratch, 1e9, lambda amount, note: None, lambda: 2**40)


def main(model: Path, scratch: Path, out: Path) -> None:
    """Asks, and trains by every recipe; the first process writes OUT."""
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_disable_most_optimizations", True)
    found: dict[str, Any] = _asked(model)
    for recipe in RECIPES:
        found |= {f"{recipe} {name}": value for name, value in _trained(recipe, model, scratch / recipe).items()}
    if processes.is_first():
        np.savez(out, **found)


def _asked(folder: Path) -> dict[str, Any]:
    mesh, dtype = device_mesh(environment.tensor_parallel()), jnp.dtype("float32")
    decoder = open_model(folder, sharding_fn(mesh)).decoder
    scores = list(score_all(Scorer(decoder, mesh, dtype), TREES, lambda amount, note: None))
    prompts = [Prompt(tuple(range(20, 24 + first)), lambda written: False) for first in range(60)]
    batches = list(generate(decoder, prompts, STRIDE, dtype, mesh))
    written = {index: ids for batch in batches for index, ids in zip(batch.prompts, batch.ids, strict=True)}
    return {"scores": np.array(scores), "written": np.array([written[index] for index in range(len(prompts))])}


def _trained(recipe: str, folder: Path, scratch: Path) -> dict[str, Any]:
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
    state = train(decoder, MATERIAL, run_of(recipe), outside_of(scratch), mesh)
    if recipe == "lora":
        adapters.merge_adapters(decoder, ["query", "out", "gate", "down"])
    curves = {"curve": state.train_log, "validation": state.validation_log}
    return tensors_of(decoder) | curves | {"traced": traced, "parts": _parts(decoder.layers.mlp.gate.kernel, state)}


def _parts(kernel: nnx.Param[Any], state: TrainState) -> list[tuple[int, ...]]:
    """A device's part of the kernel, and of what the optimizer holds in its shape."""
    whole = kernel[...].shape
    moments = [leaf for leaf in jax.tree.leaves(state.optimizer) if leaf.shape == whole]
    return [leaf.addressable_shards[0].data.shape for leaf in (kernel[...], *moments)]


if __name__ == "__main__":
    distributed_main(main)(*map(Path, sys.argv[1:]))
