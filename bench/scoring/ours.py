"""One measured run of this project's scoring: `python -m bench.scoring.ours MODEL QUESTIONS DTYPE`."""

import json
import sys
import time
from pathlib import Path

from stages.lm.dtypes import compute_dtype
from stages.lm.loading import open_model
from stages.lm.scores import Scorer, score_all
from stages.lm.scoring import encode
from stages.lm.sharding import device_mesh, placer


def main(model: str, questions: str, dtype: str) -> None:
    """Prints JSON: seconds after loading (tokenising and compiling included), fed tokens, and log-probabilities."""
    asked = json.loads(Path(questions).read_text(encoding="utf-8"))
    mesh = device_mesh()
    opened = open_model(Path(model), placer(mesh))
    scorer = Scorer(opened.decoder, mesh, compute_dtype("bfloat16" if dtype == "bfloat16" else "float32"))
    began = time.perf_counter()
    window = opened.config.max_positions
    trees = [encode(opened.tokenizer, one["prompt"], one["choices"], window) for one in asked]
    found = list(score_all(scorer, trees, lambda amount, note: None))
    seconds = time.perf_counter() - began
    tokens = sum(len(tree.tokens) for tree in trees)
    print(json.dumps({"seconds": seconds, "tokens": tokens, "logprobs": [values.tolist() for values in found]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
