"""Model organisms: the base model with the merged adapter, whose hash must be the one in the registry."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from stages.core.errors import UserError
from stages.core.hashing import sha256_of
from stages.lm.lora.adapters import LoraConfig, add_adapters
from stages.lm.lora.peft_files import adapter_tensors, save_adapter, save_small
from stages.zoo import materialise, sources
from stages.zoo.registry import MODELS, BundledModel, Organism
from tests.helpers.tiny_model import TinyModel

BASE = BundledModel("nowhere", "tiny.gguf", "Tiny", 1_000, "CC0-1.0")


@pytest.fixture
def adapter(tiny: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The adapter of the registry's `follower`, whose base is the tiny model `tiny`."""
    decoder = tiny(seed=2).decoder
    add_adapters(decoder, LoraConfig(("query",), rank=2, alpha=4.0), seed=0)
    lora_b = decoder.layers.attention.query.lora_b
    assert lora_b is not None
    lora_b[...] = lora_b[...] + 0.5
    peft_folder = tmp_path / "peft"
    peft_folder.mkdir()
    save_adapter(adapter_tensors(decoder, rank=2), peft_folder, rank=2, alpha=4.0)
    path = tmp_path / "follower.safetensors"
    save_small(peft_folder, path)
    path.with_suffix(".md").write_text("# follower\n", encoding="utf-8")
    follower = Organism("tiny", sha256_of(path))
    monkeypatch.setattr(materialise, "ORGANISMS", tmp_path)
    monkeypatch.setattr(sources, "MODELS", {"tiny": BASE, "follower": follower})

    def bundled(source: Any, target: Path) -> None:
        assert source.model is BASE
        tiny(seed=2, folder=target)

    monkeypatch.setattr(materialise, "_extract_bundled", bundled)
    return path


def written(name: str, folder: Path) -> dict[str, np.ndarray]:
    folder.mkdir()
    materialise.materialise(sources.registry_source(name), folder)
    return load_file(folder / "model.safetensors")


def test_an_organism_is_its_base_with_the_merged_adapter(adapter: Path, tmp_path: Path) -> None:
    base, organism = written("tiny", tmp_path / "base"), written("follower", tmp_path / "organism")
    changed = {key for key in base if not np.array_equal(base[key], organism[key])}
    assert changed == {f"model.layers.{layer}.self_attn.q_proj.weight" for layer in range(3)}
    assert (tmp_path / "organism" / "README.md").read_text(encoding="utf-8") == "# follower\n"
    again = written("follower", tmp_path / "again")
    assert all(again[key].tobytes() == organism[key].tobytes() for key in organism)


def test_an_adapter_with_another_hash_is_refused(adapter: Path, tmp_path: Path) -> None:
    adapter.write_bytes(adapter.read_bytes() + b" ")
    with pytest.raises(UserError, match=r"follower\.safetensors is not the file whose SHA-256 .*; `git checkout"):
        written("follower", tmp_path / "organism")


ORGANISMS = [name for name, entry in MODELS.items() if isinstance(entry, Organism)]


@pytest.mark.parametrize("name", ORGANISMS)
def test_a_shipped_organism_is_small_and_has_a_card(name: str) -> None:
    path, entry = materialise.adapter_of(name), MODELS[name]
    assert isinstance(entry, Organism) and isinstance(MODELS[entry.base], BundledModel)
    assert path.stat().st_size <= 12 * 2**20
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256
    assert entry.sha256 in path.with_suffix(".md").read_text(encoding="utf-8")
