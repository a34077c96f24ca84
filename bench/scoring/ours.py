"""One measured run of this project's scoring: `python -m bench.scoring.ours MODEL QUESTIONS DTYPE`."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from stages.lm.io.load import open_model
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.dtypes import compute_dtype
from stages.lm.nn.shapes import Mesh
from stages.lm.nn.sharding import FSDP, device_mesh, sharding_fn
from stages.lm.scoring.batches import batches, token_budget
from stages.lm.scoring.scorer import Scorer, score_all
from stages.lm.tokens.question_tree import encode_question
from stages.lm.tokens.trees import TokenTree

WIDTH, TRIES = 2_048, 7


def main(model: str, questions: str, dtype: str) -> None:
    """Prints JSON: log-probabilities, seconds after loading (tokenising and compiling included), tokens, shares."""
    asked = json.loads(Path(questions).read_text(encoding="utf-8"))
    mesh = device_mesh()
    opened = open_model(Path(model), sharding_fn(mesh))
    scorer = Scorer(opened.decoder, mesh, compute_dtype("bfloat16" if dtype == "bfloat16" else "float32"))
    rate = _matrix_rate(scorer.dtype)
    began = time.perf_counter()
    window = opened.config.max_positions
    trees = [encode_question(opened.tokenizer, one["prompt"], one["choices"], window, one["shared"]) for one in asked]
    found = list(score_all(scorer, trees, lambda amount, note: None))
    seconds = time.perf_counter() - began
    tokens, fed = sum(len(tree.tokens) for tree in trees), _fed(trees, mesh)
    share = 2 * _weights_of_layers(opened.decoder) * fed / seconds / rate
    logprobs = [values.tolist() for values in found]
    print(json.dumps({"seconds": seconds, "tokens": tokens, "fed": fed, "share": share, "logprobs": logprobs}))


def _fed(trees: Sequence[TokenTree], mesh: Mesh) -> int:
    """Tokens that go through the layers: shared ones once, padding too."""
    planned = list(batches(trees, mesh.shape[FSDP], token_budget(mesh)))
    return sum(batch.arrays.tokens_BT.size for batch in planned) + sum(map(len, {batch.prefix for batch in planned}))


def _weights_of_layers(decoder: Decoder) -> int:
    """Weights that every token is multiplied by: all but the embedding, which is the head of few tokens here."""
    leaves = nnx.to_flat_state(nnx.state(decoder))
    return sum(value.size for path, value in leaves if "embedding" not in "/".join(map(str, path)))


def _matrix_rate(dtype: jnp.dtype) -> float:
    """Operations a second of a product of large matrices, the median of some tries."""
    square = jnp.ones((WIDTH, WIDTH), dtype)
    product = jax.jit(jnp.matmul)
    product(square, square).block_until_ready()
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        product(square, square).block_until_ready()
        times.append(time.perf_counter() - began)
    return 2 * WIDTH**3 / float(np.median(times))


if __name__ == "__main__":
    main(*sys.argv[1:])
