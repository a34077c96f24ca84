"""Sharding: the table of axes covers every leaf, and a run on any mesh gives the results of one device."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from stages.core.errors import ModelError
from stages.lm.io.load import open_model
from stages.lm.io.param_names import HF_PARAM_NAMES, POST_NORM_NAMES
from stages.lm.lora.adapters import LoraConfig, add_adapters
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.sharding import PROJECTIONS, axes_of, device_mesh
from stages.lm.training.loop import train
from stages.lm.training.state import TRAIN_LOG_COLUMNS
from tests.helpers.families import FAMILIES
from tests.helpers.on_devices import DATA, RECIPES, config_of, hooks_of
from tests.helpers.programs import CHECKOUT, cleared, free_port
from tests.helpers.tiny_model import TinyModel

Arrays = Mapping[str, np.ndarray]

SIZES = {"L": 3, "D": 24, "N": 4, "K": 2, "H": 8, "F": 40, "R": 5}


def test_the_axes_in_the_table_are_those_of_each_leaf(tiny: TinyModel) -> None:
    """A llama with all biases and a Gemma with all norms together have every leaf."""
    biased = tiny(tie_word_embeddings=False, attention_bias=True, mlp_bias=True).decoder
    normed = tiny(tie_word_embeddings=False, **FAMILIES["gemma3_text"]).decoder
    paths = leaves_with_their_axes(biased) | leaves_with_their_axes(normed)
    assert len(paths) == len(HF_PARAM_NAMES | POST_NORM_NAMES) + 2 * len(PROJECTIONS)


def leaves_with_their_axes(decoder: Decoder) -> set[tuple[str, ...]]:
    add_adapters(decoder, LoraConfig(tuple(PROJECTIONS), rank=5, alpha=1.0), seed=0)
    sizes = SIZES | {"V": decoder.config.vocab}
    leaves = nnx.to_flat_state(nnx.state(decoder))
    for path, leaf in leaves:
        assert tuple(sizes[axis] for axis in axes_of(path)) == leaf[...].shape, path
    return {tuple(map(str, path)) for path, _ in leaves}


def test_devices_that_cannot_be_grouped_are_refused() -> None:
    with pytest.raises(ModelError, match=r"^1 devices cannot be split into groups of 2 \(CANDOR_TENSOR_PARALLEL\)$"):
        device_mesh(2)


# ---- against one device


@pytest.fixture(scope="module")
def folder(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny(seed=6, folder=folder)
    return folder


@pytest.fixture(scope="module")
def on_one_device(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Arrays:
    return result(folder, tmp_path_factory.mktemp("one"), {"JAX_NUM_CPU_DEVICES": "1"})


def started(folder: Path, scratch: Path, variables: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.helpers.on_devices",
            str(folder),
            str(scratch / "scratch"),
            str(scratch / "out.npz"),
        ],
        cwd=CHECKOUT,
        env=cleared() | {"JAX_PLATFORMS": "cpu"} | variables,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(folder: Path, scratch: Path, *variables: dict[str, str]) -> Arrays:
    """The arrays that a run writes, with one process for each of `variables`."""
    with ExitStack() as stack:
        running = [stack.enter_context(started(folder, scratch, own)) for own in variables]
        for process in running:
            stack.callback(process.kill)  # it would wait for another process that failed
        for process in running:
            _, stderr = process.communicate(timeout=300)
            assert process.returncode == 0, stderr
    with np.load(scratch / "out.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def two_processes() -> list[dict[str, str]]:
    common = {"JAX_NUM_CPU_DEVICES": "4", "CANDOR_PROCESSES": "2", "CANDOR_COORDINATOR": f"localhost:{free_port()}"}
    return [common | {"CANDOR_PROCESS": index} for index in ("0", "1")]


EIGHT = {"JAX_NUM_CPU_DEVICES": "8"}
MESHES: dict[str, Callable[[], list[dict[str, str]]]] = {
    "eight devices": lambda: [EIGHT],
    "four by two devices": lambda: [EIGHT | {"CANDOR_TENSOR_PARALLEL": "2"}],
    "two processes of four": two_processes,
}
# The shape of each device's part of the gate's kernel [3, 24, 40].
PARTS = {"eight devices": (3, 3, 40), "four by two devices": (3, 6, 20), "two processes of four": (3, 3, 40)}


@pytest.mark.processes
@pytest.mark.parametrize("mesh", MESHES)
def test_many_devices_give_the_results_of_one(folder: Path, on_one_device: Arrays, tmp_path: Path, mesh: str) -> None:
    arrays = result(folder, tmp_path, *MESHES[mesh]())
    assert arrays.keys() == on_one_device.keys()
    np.testing.assert_allclose(arrays["scores"], on_one_device["scores"], rtol=0.0, atol=1e-5)
    np.testing.assert_array_equal(arrays["scores"].argmax(axis=1), on_one_device["scores"].argmax(axis=1))
    np.testing.assert_array_equal(arrays["written"], on_one_device["written"])
    for recipe in RECIPES:
        assert arrays[f"{recipe} traced"] == on_one_device[f"{recipe} traced"] == 1
        np.testing.assert_allclose(arrays[f"{recipe} validation"], on_one_device[f"{recipe} validation"], rtol=1e-5)
        loss = TRAIN_LOG_COLUMNS.index("loss")
        np.testing.assert_allclose(
            arrays[f"{recipe} curve"][:, loss], on_one_device[f"{recipe} curve"][:, loss], rtol=1e-5
        )
        assert on_one_device[f"{recipe} parts"][0].tolist() == [3, 24, 40]
        assert {tuple(part) for part in arrays[f"{recipe} parts"].tolist()} == {PARTS[mesh]}, "not split, or not alike"
    assert arrays["adamw parts"].shape == (5, 3), "with two moments each of the gate and of what has its shape"
    differences = np.concatenate(
        [np.abs(arrays[key] - on_one_device[key]).ravel() for key in arrays if ".weight" in key]
    )
    # An update is about the learning rate (1e-3). If a gradient is near zero, rounding decides the update's sign.
    assert np.mean(differences < 1e-6) > 0.999 and differences.max() < 8.1e-3
    assert_resumes_on_one_device(tmp_path / "scratch/adamw", folder, on_one_device)


def assert_resumes_on_one_device(scratch: Path, folder: Path, on_one_device: Arrays) -> None:
    """A run that was saved on many devices continues on one."""
    assert [path.name for path in scratch.iterdir()] == ["2"]
    shutil.copytree(scratch, scratch.parent / "moved")
    decoder = open_model(folder).decoder
    state = train(decoder, DATA, config_of("adamw"), hooks_of(scratch.parent / "moved"), device_mesh())
    np.testing.assert_allclose(state.train_log, on_one_device["adamw curve"], rtol=1e-4)
