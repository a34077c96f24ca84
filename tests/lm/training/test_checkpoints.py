"""Checkpoints: round trips of resume state and exported parameters, the last two kept, damage reported."""

import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from orbax.checkpoint import v1 as ocp
from safetensors.numpy import load_file

from stages.core.errors import ModelError
from stages.lm.training.checkpoints import as_model_folder, export, restore_latest, save
from stages.lm.training.state import TrainState
from tests.helpers.tiny_model import TinyModel


def state_of(fill: float, width: int = 3) -> TrainState:
    """A state whose numbers all follow from `fill`, with a train log that is half empty."""
    weights = nnx.State(
        {"a": {"kernel": nnx.Param(jnp.full((2, width), fill))}, "b": nnx.Param(jnp.arange(4.0) * fill)}
    )
    optimizer = optax.adamw(1e-3).init(weights)
    optimizer = jax.tree.map(lambda leaf: leaf + jnp.asarray(fill, leaf.dtype), optimizer)
    return TrainState(
        weights, optimizer, np.array([[1.0, fill], [np.nan, np.nan]], np.float32), np.zeros((0, 2), np.float32)
    )


def assert_same(actual: TrainState, expected: TrainState) -> None:
    assert str(jax.tree.structure(actual)) == str(jax.tree.structure(expected))
    for leaf, expected_leaf in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert leaf.dtype == expected_leaf.dtype
        assert np.asarray(leaf).tobytes() == np.asarray(expected_leaf).tobytes()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scratch folder after three saves."""
    scratch = tmp_path_factory.mktemp("scratch")
    for step in (8, 9, 10):
        save(scratch, step, state_of(float(step)))
    return scratch


@pytest.fixture
def scratch(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "scratch"))


def test_nothing_saved_is_the_fresh_state(tmp_path: Path) -> None:
    fresh = state_of(0.0)
    for folder in (tmp_path, tmp_path / "none"):
        step, state = restore_latest(folder, fresh)
        assert step == 0 and state is fresh


def test_the_latest_comes_back_bit_by_bit(scratch: Path) -> None:
    step, state = restore_latest(scratch, state_of(0.0))
    assert step == 10, "9 is the later one only in the order of names"
    assert_same(state, state_of(10.0))
    state.train_log[1] = 5.0  # it must be writable


def test_two_checkpoints_are_kept_and_other_files_are_untouched(scratch: Path) -> None:
    (scratch / "lock").touch()
    unfinished = scratch / "11.orbax-checkpoint-tmp"
    unfinished.mkdir()
    assert sorted(path.name for path in scratch.iterdir()) == ["10", "11.orbax-checkpoint-tmp", "9", "lock"]
    assert restore_latest(scratch, state_of(0.0))[0] == 10
    save(scratch, 12, state_of(12.0))
    assert {"10", "12", "lock"} <= {path.name for path in scratch.iterdir()}
    assert not (scratch / "9").exists()


def test_the_same_step_is_overwritten(scratch: Path) -> None:
    save(scratch, 10, state_of(1.5))
    assert_same(restore_latest(scratch, state_of(0.0))[1], state_of(1.5))


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def cut(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose_description(folder: Path) -> None:
    for path in folder.rglob("_METADATA"):
        path.unlink()


@pytest.mark.parametrize("damage", [empty, cut, lose_description])
def test_the_error_for_a_damaged_checkpoint_says_what_to_do(scratch: Path, damage: Callable[[Path], None]) -> None:
    damage(scratch / "10")
    with pytest.raises(ModelError) as caught:
        restore_latest(scratch, state_of(0.0))
    message = str(caught.value)
    assert message.startswith(f"the checkpoint {scratch / '10'} cannot be read") and "delete it" in message
    shutil.rmtree(scratch / "10")
    step, state = restore_latest(scratch, state_of(0.0))
    assert step == 9
    assert_same(state, state_of(9.0))


# Orbax warns a reader who gives no sharding.
@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_exported_parameters_are_read_without_this_project(tiny: TinyModel, tmp_path: Path) -> None:
    export(tiny(seed=1, folder=tmp_path / "model").decoder, tmp_path / "exported")
    params = ocp.load(tmp_path / "exported")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    assert sorted(params) == ["embedding", "layers", "norm"]
    np.testing.assert_array_equal(params["embedding"], weights["model.embed_tokens.weight"])
    np.testing.assert_array_equal(
        params["layers"]["mlp"]["up"]["kernel"],
        [weights[f"model.layers.{layer}.mlp.up_proj.weight"].T for layer in range(3)],
    )


def test_exported_parameters_become_a_model_folder_again(tiny: TinyModel, tmp_path: Path) -> None:
    before = tiny(seed=1, folder=tmp_path / "model", tie_word_embeddings=False)
    export(before.decoder, tmp_path / "exported")
    # Everything except the weights comes from the second model.
    tiny(seed=2, folder=tmp_path / "other", tie_word_embeddings=False)
    as_model_folder(tmp_path / "exported", tmp_path / "other", tmp_path / "again")
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    written, weights = (load_file(tmp_path / name / "model.safetensors") for name in ("again", "model"))
    assert written.keys() == weights.keys()
    for key, values in weights.items():
        np.testing.assert_array_equal(written[key], values)


@pytest.mark.parametrize("damage", [empty, lose_description])
def test_the_error_for_damaged_parameters_says_what_to_do(
    tiny: TinyModel, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    export(tiny(folder=tmp_path / "model").decoder, tmp_path / "3")
    damage(tmp_path / "3")
    with pytest.raises(ModelError, match=r"^the checkpoint .*/3 cannot be read .*delete it, and `dvc repro` makes it"):
        as_model_folder(tmp_path / "3", tmp_path / "model", tmp_path / "again")
    assert not (tmp_path / "again").exists()
