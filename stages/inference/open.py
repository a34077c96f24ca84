"""Opens a model folder for scoring: on all devices of all processes, with the cache of its earlier answers."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from stages.core.shared_types import Dtype, PromptFormat
from stages.inference.store import open_store
from stages.lm.distributed import environment, processes
from stages.lm.io.load import open_model
from stages.lm.nn.dtypes import compute_dtype
from stages.lm.nn.sharding import device_mesh, sharding_fn
from stages.lm.scoring.cache import AnswerCache, NullStore
from stages.lm.scoring.scorer import Scorer, arithmetic
from stages.lm.tokens.prompt_formats import Prompts, prompts_of


@contextmanager
def open_scorer(folder: Path, dtype: Dtype, prompt_format: PromptFormat) -> Iterator[tuple[Scorer, Prompts]]:
    """Yields a scorer for the model folder, and its prompt format."""
    mesh, compute = device_mesh(environment.tensor_parallel()), compute_dtype(dtype)
    model = open_model(folder, sharding_fn(mesh), compute)
    prompts = prompts_of(folder, model, prompt_format)
    # Only the first process stores answers.
    opening = open_store(folder, arithmetic(compute, mesh)) if processes.is_first() else nullcontext(NullStore())
    with opening as store:
        yield Scorer(model.decoder, mesh, compute, AnswerCache(store)), prompts
