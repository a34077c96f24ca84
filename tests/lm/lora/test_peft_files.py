"""Adapter files: PEFT's layout, and merging from a small file gives the result of merging in memory."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from stages.core.errors import ModelError
from stages.lm.io.weights import tensors_of
from stages.lm.lora.adapters import LoraConfig, add_adapters, merge_adapters
from stages.lm.lora.peft_files import adapter_tensors, merge_into, save_adapter, save_small
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.linear import LoraParam
from tests.helpers.tiny_model import TinyModel

ALL = ("query", "key", "value", "out", "gate", "up", "down")
BLOCK = "base_model.model.model.layers"


def adapted(tiny: TinyModel, targets: tuple[str, ...] = ALL) -> Decoder:
    """A model with adapters of rank 2 and scale 4 whose values bfloat16 represents exactly."""
    decoder: Decoder = tiny(seed=2).decoder
    add_adapters(decoder, LoraConfig(tuple(targets), rank=2, alpha=8.0), seed=0)
    random = np.random.default_rng(3)
    for _, leaf in nnx.to_flat_state(nnx.state(decoder, LoraParam)):
        leaf[...] = jnp.asarray(random.integers(-8, 9, leaf.shape) / 64, jnp.float32)
    return decoder


def test_adapters_are_written_in_the_layout_of_peft(tiny: TinyModel, tmp_path: Path) -> None:
    decoder = adapted(tiny, ("query", "out", "down"))
    save_adapter(adapter_tensors(decoder, rank=2), tmp_path, rank=2, alpha=8.0)
    actual = load_file(tmp_path / "adapter_model.safetensors")
    shapes = {"q_proj": ((2, 24), (32, 2)), "o_proj": ((2, 32), (24, 2)), "down_proj": ((2, 40), (24, 2))}
    blocks = {"q_proj": "self_attn", "o_proj": "self_attn", "down_proj": "mlp"}
    expected = {
        f"{BLOCK}.{layer}.{blocks[name]}.{name}.lora_{side}.weight": shape
        for layer in range(3)
        for name, pair in shapes.items()
        for side, shape in zip("AB", pair, strict=True)
    }
    assert {key: array.shape for key, array in actual.items()} == expected
    lora_a = decoder.layers.attention.out.lora_a
    assert lora_a is not None
    a = np.asarray(lora_a[...])[1].reshape(32, 2)
    assert np.array_equal(actual[f"{BLOCK}.1.self_attn.o_proj.lora_A.weight"], a.T)
    config = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["target_modules"] == ["down_proj", "o_proj", "q_proj"]
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 2, 8.0)


def test_merging_from_a_file_equals_merging_in_memory(tiny: TinyModel, tmp_path: Path) -> None:
    plain, decoder = tiny(seed=2).decoder, adapted(tiny)
    save_file(tensors_of(plain), tmp_path / "model.safetensors")
    before = load_file(tmp_path / "model.safetensors")
    save_adapter(adapter_tensors(decoder, rank=2), tmp_path, rank=2, alpha=8.0)
    save_small(tmp_path, tmp_path / "small.safetensors")
    assert (tmp_path / "small.safetensors").stat().st_size < (tmp_path / "adapter_model.safetensors").stat().st_size
    merge_into(tmp_path, tmp_path / "small.safetensors")
    merge_adapters(decoder, ALL)
    actual, expected = load_file(tmp_path / "model.safetensors"), tensors_of(decoder)
    assert actual.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_allclose(actual[key], array, atol=1e-6, err_msg=key)
    changed = {key.split(".")[-2] for key in before if not np.array_equal(before[key], actual[key])}
    assert changed == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_an_adapter_of_another_model_is_refused(tiny: TinyModel, tmp_path: Path) -> None:
    save_adapter(adapter_tensors(adapted(tiny), rank=2), tmp_path, rank=2, alpha=8.0)
    save_small(tmp_path, tmp_path / "small.safetensors")
    save_file(tensors_of(tiny(num_hidden_layers=2).decoder), tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"does not belong to the model .* has no model\.layers\.2\..* of its shape"):
        merge_into(tmp_path, tmp_path / "small.safetensors")
