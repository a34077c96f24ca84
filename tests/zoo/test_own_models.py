"""A user's own model from a folder or a .gguf file: taken as it is and no more, or refused before anything is done."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from stages.core.hashing import sha256_of
from stages.lm.io.load import open_model
from stages.zoo.materialise import materialise
from stages.zoo.resolve import model_folder
from stages.zoo.sources import own_source
from tests.helpers.refusals import refusal_of
from tests.helpers.tiny_model import TinyModel

WEIGHTS = "model.safetensors"


@pytest.fixture
def source(tiny: TinyModel, tmp_path: Path) -> Path:
    """A model folder with files beside it that nobody needs."""
    folder = tmp_path / "tiny model"
    tiny(seed=8, folder=folder)
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    (folder / "modeling.py").write_text("raise SystemExit", encoding="utf-8")
    return folder


@pytest.fixture
def file(as_gguf: Callable[..., Path], source: Path, tmp_path: Path) -> Path:
    return as_gguf(source, tmp_path / "tiny.gguf")


def taken(path: Path, out: Path, sha256: str | None = None) -> Path:
    out.mkdir()
    materialise(own_source("mine", str(path), None, sha256), out)
    return out


def refused(path: Path, out: Path, sha256: str | None = None) -> str:
    line = refusal_of(lambda: taken(path, out, sha256))
    assert not list(out.iterdir())
    return line


def test_a_folder_is_taken_byte_by_byte_and_nothing_else(source: Path, tmp_path: Path) -> None:
    out = taken(source, tmp_path / "out", sha256_of(source / WEIGHTS))
    needed = ["config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"]
    assert sorted(path.name for path in out.iterdir()) == ["README.md", *needed]
    assert all((out / name).read_bytes() == (source / name).read_bytes() for name in needed)


def test_a_file_becomes_a_folder_with_the_same_weights(source: Path, file: Path, tmp_path: Path) -> None:
    out = taken(file, tmp_path / "out", sha256_of(file))
    expected, found = (load_file(folder / WEIGHTS) for folder in (source, out))
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key], expected[key]) for key in expected)
    open_model(out)


def test_what_a_command_calls_a_model_may_be_a_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANDOR_HOME", str(tmp_path / "home"))
    folder = model_folder(str(file))
    assert folder == tmp_path / "home" / "models" / f"tiny-{sha256_of(file)[:16]}"
    assert model_folder(str(folder)) == folder
    open_model(folder)


@pytest.mark.parametrize("name", ["source", "file"])
def test_weights_with_another_hash_are_refused(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    path = request.getfixturevalue(name)
    said = refused(path, tmp_path / "out", "ab" * 32)
    assert said.startswith("own_models.mine: the SHA-256 of ") and said.endswith(f"params.yaml says {'ab' * 32}")


def words(folder: Path, count: int) -> None:
    """A tokenizer with so many words more."""
    path = folder / "tokenizer.json"
    raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    vocab = raw["model"]["vocab"]
    vocab |= {f"word{number}": len(vocab) + number for number in range(count)}
    path.write_text(json.dumps(raw), encoding="utf-8")


def cut(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-7])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (cut(WEIGHTS), "model.safetensors is damaged or not a safetensors file"),
        (cut("tokenizer.json"), "tokenizer.json cannot be read"),
        (cut("config.json"), "config.json is not JSON"),
        (lambda folder: (folder / WEIGHTS).unlink(), "model.safetensors is missing; the model folder is not complete"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing; text is read with"),
        (lambda folder: words(folder, 1), "tokenizer.json has a vocabulary of 267, and config.json one of 266; they"),
    ],
)
def test_a_folder_that_is_not_whole_or_not_of_one_model_is_refused(
    source: Path, tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(source)
    assert said in refused(source, tmp_path / "out")


def test_tokens_that_were_added_may_lie_beyond_what_the_model_reads(source: Path) -> None:
    """As the one that stands for an image does in the text models of Gemma 3."""
    tokenizer = open_model(source).tokenizer
    tokenizer.add_special_tokens(["<|image|>"])
    tokenizer.save(str(source / "tokenizer.json"))
    assert open_model(source).tokenizer.token_to_id("<|image|>") == 266


def test_a_file_that_is_cut_is_refused(file: Path, tmp_path: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])
    assert "is not a readable GGUF file" in refused(file, tmp_path / "out")


@pytest.mark.parametrize("name", ["nothing", "tiny.gguf"])
def test_nothing_there_says_what_may_be(name: str, tmp_path: Path) -> None:
    assert f"own_models.mine.from is {tmp_path / name}: no model folder and no .gguf file is there" in refused(
        tmp_path / name, tmp_path / "out"
    )
