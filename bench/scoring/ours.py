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
    """Prints JSON: log-probabilities, seconds after loading (with tokenising and compiling), tokens, shares."""
    items = json.loads(Path(questions).read_text(encoding="utf-8"))
    mesh = device_mesh()
    loaded = open_model(Path(model), sharding_fn(mesh))
    scorer = Scorer(loaded.decoder, mesh, compute_dtype("bfloat16" if dtype == "bfloat16" else "float32"))
    rate = _matrix_rate(scorer.dtype)
    started = time.perf_counter()
    window = loaded.config.max_positions
    trees = [
        encode_question(loaded.tokenizer, item["prompt"], item["choices"], window, item["shared"]) for item in items
    ]
    results = list(score_all(scorer, trees, lambda amount, note: None))
    seconds = time.perf_counter() - started
    tokens, fed = sum(len(tree.tokens) for tree in trees), _fed_tokens(trees, mesh)
    share = 2 * _layer_weights(loaded.decoder) * fed / seconds / rate
    logprobs = [values.tolist() for values in results]
    print(json.dumps({"seconds": seconds, "tokens": tokens, "fed": fed, "share": share, "logprobs": logprobs}))


def _fed_tokens(trees: Sequence[TokenTree], mesh: Mesh) -> int:
    """Tokens that go through the layers: shared prefixes once, and padding too."""
    planned = list(batches(trees, mesh.shape[FSDP], token_budget(mesh)))
    return sum(batch.arrays.tokens_BT.size for batch in planned) + sum(map(len, {batch.prefix for batch in planned}))


def _layer_weights(decoder: Decoder) -> int:
    """Weights that every token is multiplied by: all except the embedding, which few tokens use as the output head."""
    leaves = nnx.to_flat_state(nnx.state(decoder))
    return sum(value.size for path, value in leaves if "embedding" not in "/".join(map(str, path)))


def _matrix_rate(dtype: jnp.dtype) -> float:
    """Operations per second of a product of large matrices, the median of several tries."""
    square = jnp.ones((WIDTH, WIDTH), dtype)
    product = jax.jit(jnp.matmul)
    product(square, square).block_until_ready()
    times = []
    for _ in range(TRIES):
        started = time.perf_counter()
        product(square, square).block_until_ready()
        times.append(time.perf_counter() - started)
    return 2 * WIDTH**3 / float(np.median(times))


if __name__ == "__main__":
    main(*sys.argv[1:])
