"""One measured run of this project's fine-tuning: `python -m bench.finetune.ours MODEL EXAMPLES DTYPE STEPS BATCH`."""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp

from stages.lm.io.load import open_model
from stages.lm.nn.sharding import device_mesh, sharding_fn
from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.training.loop import train
from stages.lm.training.optimizer import OptimizerConfig
from stages.lm.training.state import LOSS, PERF_LOG_COLUMNS, TrainConfig, TrainData, TrainHooks


def main(model: str, examples: str, dtype: str, steps: str, batch: str) -> None:
    """Prints a JSON list of [loss, seconds] for each step."""
    optimizer = OptimizerConfig("adamw", 1e-4, "constant", warmup_steps=0, weight_decay=0.0, max_grad_norm=1.0)
    config = TrainConfig(
        steps=int(steps), batch_size=int(batch), gradient_accumulation_steps=1, save_steps=int(steps) + 1,
        eval_steps=0, keep_steps=(), optimizer=optimizer, dtype=jnp.dtype(dtype), remat=False,
    )  # fmt: skip
    completions = [PromptCompletion(tuple(ids), start) for ids, start in json.loads(Path(examples).read_text())]
    seconds: list[float] = []

    def log(row: Sequence[float]) -> None:
        seconds.append(row[PERF_LOG_COLUMNS.index("seconds")])

    mesh = device_mesh()
    decoder = open_model(Path(model), sharding_fn(mesh)).decoder
    with tempfile.TemporaryDirectory() as scratch:
        hooks = TrainHooks(Path(scratch), 1e9, lambda amount, note: None, lambda: 2**40, log=log)
        state = train(decoder, TrainData(completions), config, hooks, mesh)
    print(json.dumps([[float(loss), time] for loss, time in zip(state.train_log[:, LOSS], seconds, strict=True)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
