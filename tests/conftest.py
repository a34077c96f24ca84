"""Shared fixtures: reference values and hub files from outside the repository, and tiny random models."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers import compilations
from tests.helpers.programs import CHECKOUT
from tests.helpers.tiny_model import TinyModel, write_tiny_model

if TYPE_CHECKING:
    from stages.lm.io.load import LanguageModel


KEPT = CHECKOUT / ".pytest_cache/d/compilations"  # which --cache-clear removes
# When this file is imported, and not later: the conftest.py of a folder may import JAX, which then reads the variables.
RUN = compilations.begin(KEPT)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keeps the compiled programs for later runs if all tests passed."""
    if exitstatus == pytest.ExitCode.OK:
        compilations.keep(RUN, KEPT)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes the run's folder of compiled programs."""
    shutil.rmtree(RUN, ignore_errors=True)


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of reference values from an independent implementation."""
    return _outside("CANDOR_TEST_GOLDEN", "reference values from an independent implementation")


@pytest.fixture(scope="session")
def hub() -> Path:
    """The folder of hub data sets, laid out as on the hub."""
    return _outside("CANDOR_TEST_HUB", "data sets laid out as on the hub")


def _outside(variable: str, what: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set; it names a folder with {what}")
    if not Path(value).is_dir():
        pytest.skip(f"{variable} is {value}, which is no folder; it names one with {what}")
    return Path(value)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """Makes a tiny random model from a seed, with a byte-level tokenizer.

    `tiny(seed=3, folder=path, attention_bias=True)` also leaves its model folder at `path`; what else is named changes
    config.json, that of a llama.
    """

    def make(seed: int = 0, folder: Path | None = None, **changes: Any) -> "LanguageModel":
        from stages.lm.io.load import open_model

        folder = folder or tmp_path_factory.mktemp("tiny")
        write_tiny_model(folder, seed, changes)
        return open_model(folder)

    return make


@pytest.fixture(scope="session")
def as_gguf() -> Callable[..., Path]:
    """Writes a tiny model's folder as a GGUF file: `as_gguf(folder, path, architecture, fields, tensors)`."""
    from tests.helpers.gguf import write_gguf

    return write_gguf


@pytest.fixture
def exact() -> Iterator[None]:
    """Matrix products in full float32, which accelerators do not do by themselves."""
    import jax

    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="module")
def lightly_compiled() -> Iterator[None]:
    """Programs compiled in half the time, for modules that compile much and compute little."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
