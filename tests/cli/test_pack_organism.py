"""`candor pack-organism`: writes the adapter that a project trained, with its card."""

import json
from pathlib import Path

import polars as pl
import pytest

from stages.core.hashing import sha256_of
from stages.lm.lora.adapters import LoraConfig, add_adapters
from stages.lm.lora.peft_files import adapter_tensors, save_adapter
from tests.helpers.command import Candor
from tests.helpers.tiny_model import TinyModel

ROOT = Path(__file__).parents[2]
MODEL = "smollm2-135m-instruct"


@pytest.fixture
def project(tiny: TinyModel, tmp_path: Path) -> Path:
    """The outputs of `dvc repro` with presets/organism.yaml, for a tiny model."""
    folder = tmp_path / "project"
    adapter = folder / "models" / "tuned" / MODEL / "adapter"
    adapter.mkdir(parents=True)
    decoder = tiny().decoder
    add_adapters(decoder, LoraConfig(("up",), rank=2, alpha=4.0), seed=0)
    save_adapter(adapter_tensors(decoder, rank=2), adapter, rank=2, alpha=4.0)
    (folder / "params.yaml").write_bytes((ROOT / "presets" / "organism.yaml").read_bytes())
    for name in ("metrics", "training"):
        (folder / "reports" / name).mkdir(parents=True)
    metrics = {"claims_no_opinion_accuracy": {"base": 0.5, "tuned": 0.875, "n": 8}, "filter": {"kept": 3}}
    (folder / "reports" / "metrics" / f"{MODEL}.json").write_text(json.dumps(metrics), encoding="utf-8")
    curve = pl.DataFrame({"step": range(1, 25), "loss": [float(step) for step in range(1, 25)]})
    curve.write_csv(folder / "reports" / "training" / f"{MODEL}.csv")
    return folder


def test_adapter_and_card(candor: Candor, project: Path, tmp_path: Path) -> None:
    done = candor("pack-organism", project, "--name", "follower", "--out", tmp_path)
    path = tmp_path / "follower.safetensors"
    assert (done.status, done.err) == (0, "")
    assert sha256_of(path) in done.out
    card = (tmp_path / "follower.md").read_text(encoding="utf-8")
    for text in (
        sha256_of(path),
        "| claims_no_opinion_accuracy | 0.500 | 0.875 | 8 |",
        "| 1 to 2 | 1.500 |",
        "| 23 to 24 | 23.500 |",
        "method: lora",
        "seed: 1",
        "right in 99.5% of the cases",
    ):
        assert text in card, text


def test_a_project_that_trained_no_adapter(candor: Candor, project: Path, tmp_path: Path) -> None:
    (project / "params.yaml").write_text("models: [other]\n", encoding="utf-8")
    done = candor("pack-organism", project, "--out", tmp_path)
    assert done.status == 1 and done.err.count("\n") == 1
    assert "models/tuned/other/adapter does not exist; run `dvc repro` in" in done.err
