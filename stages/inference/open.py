"""A model folder made ready to be asked: on all devices of all processes, with the store of what it said before."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from stages.inference.store import open_store
from stages.lm.distributed import environment, processes
from stages.lm.io.load import open_model
from stages.lm.nn.dtypes import Dtype, compute_dtype
from stages.lm.nn.sharding import device_mesh, sharding_fn
from stages.lm.scoring.scorer import NullCache, Scorer, arithmetic
from stages.lm.tokens.prompt_formats import PromptFormat, Prompts, prompts_of


@contextmanager
def open_scorer(folder: Path, dtype: Dtype, prompt_format: PromptFormat) -> Iterator[tuple[Scorer, Prompts]]:
    """A model folder's scorer, and how it is asked."""
    mesh, kind = device_mesh(environment.tensor_devices()), compute_dtype(dtype)
    model = open_model(folder, sharding_fn(mesh), kind)
    prompts = prompts_of(folder, model, prompt_format)
    # One process keeps what all of them found.
    store = open_store(folder, arithmetic(kind, mesh)) if processes.is_first() else nullcontext(NullCache())
    with store as kept:
        yield Scorer(model.decoder, mesh, kind, kept), prompts
