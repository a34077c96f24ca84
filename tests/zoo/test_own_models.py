"""A user's own model from a folder or a .gguf file: imported unchanged, or refused before anything is written."""

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
    """A model folder that also has files that are not needed."""
    folder = tmp_path / "tiny model"
    tiny(seed=8, folder=folder)
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    (folder / "modeling.py").write_text("raise SystemExit", encoding="utf-8")
    return folder


@pytest.fixture
def file(as_gguf: Callable[..., Path], source: Path, tmp_path: Path) -> Path:
    return as_gguf(source, tmp_path / "tiny.gguf")


def imported(path: Path, out: Path, sha256: str | None = None) -> Path:
    out.mkdir()
    materialise(own_source("mine", str(path), None, sha256), out)
    return out


def refused(path: Path, out: Path, sha256: str | None = None) -> str:
    line = refusal_of(lambda: imported(path, out, sha256))
    assert not list(out.iterdir())
    return line


def test_needed_files_of_a_folder_are_copied_unchanged_and_no_others(source: Path, tmp_path: Path) -> None:
    out = imported(source, tmp_path / "out", sha256_of(source / WEIGHTS))
    needed = ["config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"]
    assert sorted(path.name for path in out.iterdir()) == ["README.md", *needed]
    assert all((out / name).read_bytes() == (source / name).read_bytes() for name in needed)


def test_a_gguf_file_becomes_a_folder_with_the_same_weights(source: Path, file: Path, tmp_path: Path) -> None:
    out = imported(file, tmp_path / "out", sha256_of(file))
    expected, actual = (load_file(folder / WEIGHTS) for folder in (source, out))
    assert actual.keys() == expected.keys()
    assert all(np.array_equal(actual[key], expected[key]) for key in expected)
    open_model(out)


def test_the_model_argument_of_a_command_may_be_a_file(
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
    message = refused(path, tmp_path / "out", "ab" * 32)
    assert message.startswith("own_models.mine: the SHA-256 of ") and message.endswith(f"params.yaml says {'ab' * 32}")


def add_words(folder: Path, count: int) -> None:
    """Adds words to the tokenizer's vocabulary."""
    path = folder / "tokenizer.json"
    raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    vocab = raw["model"]["vocab"]
    vocab |= {f"word{number}": len(vocab) + number for number in range(count)}
    path.write_text(json.dumps(raw), encoding="utf-8")


def truncate(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-7])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncate(WEIGHTS), "model.safetensors is damaged or not a safetensors file"),
        (truncate("tokenizer.json"), "tokenizer.json cannot be read"),
        (truncate("config.json"), "config.json is not JSON"),
        (lambda folder: (folder / WEIGHTS).unlink(), "model.safetensors is missing; the model folder is incomplete"),
        (
            lambda folder: (folder / "tokenizer.json").unlink(),
            "tokenizer.json is missing; only tokenizers in that format are supported",
        ),
        (
            lambda folder: add_words(folder, 1),
            "the vocabulary in tokenizer.json has 267 tokens, but config.json allows 266; they",
        ),
    ],
)
def test_an_incomplete_or_mixed_folder_is_refused(
    source: Path, tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(source)
    assert message in refused(source, tmp_path / "out")


def test_added_tokens_may_exceed_the_vocabulary_of_the_model(source: Path) -> None:
    """Like the image token in the text models of Gemma 3."""
    tokenizer = open_model(source).tokenizer
    tokenizer.add_special_tokens(["<|image|>"])
    tokenizer.save(str(source / "tokenizer.json"))
    assert open_model(source).tokenizer.token_to_id("<|image|>") == 266


def test_a_truncated_file_is_refused(file: Path, tmp_path: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])
    assert "is not a readable GGUF file" in refused(file, tmp_path / "out")


@pytest.mark.parametrize("name", ["nothing", "tiny.gguf"])
def test_a_missing_source_is_refused(name: str, tmp_path: Path) -> None:
    assert f"own_models.mine.from is {tmp_path / name}: no model folder and no .gguf file is there" in refused(
        tmp_path / name, tmp_path / "out"
    )
