"""One measured run of this project's fine-tuning: `python -m bench.finetune.ours MODEL EXAMPLES DTYPE STEPS BATCH`."""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp

from stages.lm.io.load import open_model
from stages.lm.nn.sharding import device_mesh, placer
from stages.lm.tokens.continuation import Continued
from stages.lm.training.loop import train
from stages.lm.training.optimizer import Rule
from stages.lm.training.state import LOSS, Material, Outside, Run


def main(model: str, examples: str, dtype: str, steps: str, batch: str) -> None:
    """Prints a JSON list of [loss, seconds] for each step."""
    rule = Rule("adamw", 1e-4, "constant", warmup_steps=0, weight_decay=0.0, clip_norm=1.0)
    run = Run(
        steps=int(steps), batch=int(batch), accumulate=1, checkpoint_every=int(steps) + 1,
        validate_every=0, keep_steps=(), rule=rule, dtype=jnp.dtype(dtype), remat=False,
    )  # fmt: skip
    found = [Continued(tuple(ids), start) for ids, start in json.loads(Path(examples).read_text())]
    seconds: list[float] = []

    def log(pace: Sequence[float]) -> None:
        seconds.append(pace[1])

    mesh = device_mesh()
    decoder = open_model(Path(model), placer(mesh)).decoder
    with tempfile.TemporaryDirectory() as scratch:
        outside = Outside(Path(scratch), 1e9, lambda amount, note: None, lambda *kept: None, lambda: 2**40, log)
        state = train(decoder, Material(found), run, outside, mesh)
    print(json.dumps([[float(loss), took] for loss, took in zip(state.curve[:, LOSS], seconds, strict=True)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
