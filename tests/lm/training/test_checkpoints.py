"""Resume state and exported parameters: in is out, the last two are kept, damage is named."""

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
    """A state whose every number is told by `fill`, with a curve that is half empty."""
    weights = nnx.State(
        {"a": {"kernel": nnx.Param(jnp.full((2, width), fill))}, "b": nnx.Param(jnp.arange(4.0) * fill)}
    )
    optimizer = optax.adamw(1e-3).init(weights)
    optimizer = jax.tree.map(lambda leaf: leaf + jnp.asarray(fill, leaf.dtype), optimizer)
    return TrainState(
        weights, optimizer, np.array([[1.0, fill], [np.nan, np.nan]], np.float32), np.zeros((0, 2), np.float32)
    )


def assert_same(one: TrainState, other: TrainState) -> None:
    assert str(jax.tree.structure(one)) == str(jax.tree.structure(other))
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert left.dtype == right.dtype
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


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
    assert step == 10, "9 is the later one of two names only"
    assert_same(state, state_of(10.0))
    state.train_log[1] = 5.0  # the run goes on writing into it


def test_two_are_kept_and_what_is_no_checkpoint_is_left_alone(scratch: Path) -> None:
    (scratch / "lock").touch()
    unfinished = scratch / "11.orbax-checkpoint-tmp"
    unfinished.mkdir()
    assert sorted(path.name for path in scratch.iterdir()) == ["10", "11.orbax-checkpoint-tmp", "9", "lock"]
    assert restore_latest(scratch, state_of(0.0))[0] == 10
    save(scratch, 12, state_of(12.0))
    assert {"10", "12", "lock"} <= {path.name for path in scratch.iterdir()}
    assert not (scratch / "9").exists()


def test_the_same_step_is_written_anew(scratch: Path) -> None:
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
def test_a_damaged_checkpoint_is_named_with_the_way_out(scratch: Path, damage: Callable[[Path], None]) -> None:
    damage(scratch / "10")
    with pytest.raises(ModelError) as caught:
        restore_latest(scratch, state_of(0.0))
    message = str(caught.value)
    assert message.startswith(f"the checkpoint {scratch / '10'} cannot be read") and "delete it" in message
    shutil.rmtree(scratch / "10")
    step, state = restore_latest(scratch, state_of(0.0))
    assert step == 9
    assert_same(state, state_of(9.0))


# A reader who does not say on which devices the arrays shall be is told so.
@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_exported_parameters_are_read_without_this_project(tiny: TinyModel, tmp_path: Path) -> None:
    export(tiny(seed=1, folder=tmp_path / "model").decoder, tmp_path / "exported")
    found = ocp.load(tmp_path / "exported")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    assert sorted(found) == ["embedding", "layers", "norm"]
    np.testing.assert_array_equal(found["embedding"], weights["model.embed_tokens.weight"])
    np.testing.assert_array_equal(
        found["layers"]["mlp"]["up"]["kernel"],
        [weights[f"model.layers.{layer}.mlp.up_proj.weight"].T for layer in range(3)],
    )


def test_exported_parameters_become_a_model_folder_again(tiny: TinyModel, tmp_path: Path) -> None:
    before = tiny(seed=1, folder=tmp_path / "model", tie_word_embeddings=False)
    export(before.decoder, tmp_path / "exported")
    # Of the second model all but the weights is taken.
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
def test_damaged_parameters_are_named_with_the_way_out(
    tiny: TinyModel, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    export(tiny(folder=tmp_path / "model").decoder, tmp_path / "3")
    damage(tmp_path / "3")
    with pytest.raises(ModelError, match=r"^the checkpoint .*/3 cannot be read .*`dvc repro` makes it anew"):
        as_model_folder(tmp_path / "3", tmp_path / "model", tmp_path / "again")
    assert not (tmp_path / "again").exists()
