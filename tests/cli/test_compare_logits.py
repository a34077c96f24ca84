"""`candor compare-logits`: parity with reference logits, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.command import Candor
from tests.helpers.tiny_model import TinyModel

GOLDEN = (
    "gemma2", "gemma3", "llama-tied", "llama-untied-bias", "llama3-rope", "mistral-window", "qwen2", "qwen3",
)  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_logits_agree_with_an_independent_implementation(name: str, golden: Path, candor: Candor, exact: None) -> None:
    folder = golden / "tiny" / name
    done = candor("compare-logits", folder, "--expected", folder / "expected.npz", "--tolerance", "1e-4")
    assert done.status == 0, done.out + done.err
    assert done.out.startswith("largest difference ") and "within the tolerance of 0.0001" in done.out


def test_another_family_is_refused_by_name(reference: dict[str, np.ndarray], tmp_path: Path, candor: Candor) -> None:
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"llama"', '"gpt2"'), encoding="utf-8")
    np.savez(tmp_path / "expected.npz", **reference)  # type: ignore[arg-type]
    done = candor("compare-logits", tmp_path / "model", "--expected", tmp_path / "expected.npz")
    assert done.status == 1
    assert "model_type 'gpt2' is not supported; supported: llama, mistral, qwen2" in done.err


@pytest.fixture
def reference(tmp_path: Path, tiny: TinyModel) -> dict[str, np.ndarray]:
    """A tiny model's folder at tmp_path/model, and zeros where its logits should be."""
    vocab = tiny(seed=2, folder=tmp_path / "model").config.vocab
    tokens = np.arange(10, dtype=np.int32).reshape(2, 5)
    return {"tokens": tokens, "lengths": np.array([5, 3]), "logits": np.zeros((2, 5, vocab), np.float32)}


def test_a_difference_above_the_tolerance_is_status_1_and_its_place(
    reference: dict[str, np.ndarray], tmp_path: Path, candor: Candor
) -> None:
    reference["logits"][1, 2, 7] = 1e6
    reference["logits"][1, 4, 3] = 1e9  # past the row's length: not compared
    np.savez(tmp_path / "expected.npz", **reference)  # type: ignore[arg-type]
    done = candor("compare-logits", tmp_path / "model", "--expected", tmp_path / "expected.npz")
    assert done.status == 1
    assert "at row 1, position 2, token 7: expected 1000000.000000" in done.out
    assert "above the tolerance of 0.0001" in done.out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lengths": None}, "lacks lengths"),
        ({"lengths": np.array([5])}, "do not fit"),
        ({"logits": np.zeros((2, 5, 3), np.float32)}, "the reference has 3 logits per position"),
        ({"tokens": np.array([object()] * 2)}, "is not an .npz file of plain arrays"),
    ],
)
def test_a_reference_of_another_form_is_refused(
    change: dict[str, Any], message: str, reference: dict[str, np.ndarray], tmp_path: Path, candor: Candor
) -> None:
    arrays = {key: value for key, value in (reference | change).items() if value is not None}
    np.savez(tmp_path / "expected.npz", **arrays)
    done = candor("compare-logits", tmp_path / "model", "--expected", tmp_path / "expected.npz")
    assert done.status == 1
    assert message in done.err and done.err.count("\n") == 1


def test_a_reference_that_is_not_there(tmp_path: Path, candor: Candor) -> None:
    done = candor("compare-logits", tmp_path, "--expected", tmp_path / "none.npz")
    assert (done.status, done.err) == (1, f"error: {tmp_path / 'none.npz'} does not exist\n")
