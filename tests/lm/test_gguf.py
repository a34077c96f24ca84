"""GGUF files: written from known arrays and read back, by hand where a format is quantised, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from safetensors.numpy import load_file

from stages.lm.config import read_config
from stages.lm.errors import ModelError
from stages.lm.gguf import read_gguf, write_model
from stages.lm.loading import LanguageModel, open_model
from stages.lm.weights import check_weights

TinyModel = Callable[..., LanguageModel]
Write = Callable[..., Path]

EMBEDDING = "model.embed_tokens.weight"
QUERY = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def source(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose rows are whole blocks of 32 numbers, as the quantised formats need them."""
    folder = tmp_path_factory.mktemp("source")
    tiny(seed=5, folder=folder, hidden_size=32, intermediate_size=64, num_hidden_layers=2)
    return folder


@pytest.fixture(scope="module")
def file(as_gguf: Write, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_gguf(source, tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="module")
def written(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    write_model(read_gguf(file), folder)
    return folder


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_gguf(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


def test_the_arrays_come_back_bit_by_bit(source: Path, written: Path) -> None:
    expected, found = load_file(source / "model.safetensors"), load_file(written / "model.safetensors")
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key].dtype == np.float32
        assert np.array_equal(found[key], values), key


def test_the_config_describes_the_same_decoder(source: Path, written: Path) -> None:
    assert read_config(written / "config.json") == read_config(source / "config.json")


def test_the_folder_can_be_asked(source: Path, written: Path) -> None:
    check_weights(written, read_config(written / "config.json"))
    one, other = open_model(source).tokenizer, open_model(written).tokenizer
    text = "it is no (A) ß<|end|>\n  this"
    assert one.encode(text).ids == other.encode(text).ids
    assert other.decode(other.encode(text).ids, skip_special_tokens=False) == text
    # This kind of vocabulary has each digit by itself.
    assert (one.encode("12").tokens, other.encode("12").tokens) == (["12"], ["1", "2"])


def test_what_a_reader_needs_beside_the_weights(written: Path) -> None:
    read = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in written.glob("*.json")}
    assert read["generation_config.json"] == {"bos_token_id": 0, "eos_token_id": 1}
    assert read["tokenizer_config.json"] == {
        "add_prefix_space": False,
        "bos_token": "<|begin|>",
        "chat_template": "{{ messages }}",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|end|>",
        "model_max_length": 128,
        "tokenizer_class": "GPT2Tokenizer",
    }
    assert read["config.json"]["rms_norm_eps"] == 1e-5


def test_writing_twice_gives_the_same_bytes(file: Path, written: Path, tmp_path: Path) -> None:
    write_model(read_gguf(file), tmp_path)
    for path in written.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_an_untied_head_is_read(tiny: TinyModel, as_gguf: Write, tmp_path: Path) -> None:
    tiny(seed=6, folder=tmp_path / "untied", tie_word_embeddings=False)
    model = read_gguf(as_gguf(tmp_path / "untied", tmp_path / "untied.gguf"))
    assert model.config["tie_word_embeddings"] is False
    expected = load_file(tmp_path / "untied" / "model.safetensors")["lm_head.weight"]
    assert np.array_equal(model.weight("lm_head.weight"), expected)


# ---- quantised tensors, block by block


def q8_0(rows: int, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Random blocks of 32 (a float16 scale, then 32 signed bytes) and the numbers that they stand for."""
    random = np.random.default_rng(1)
    scales = random.normal(size=(rows, blocks, 1)).astype(np.float16)
    whole = random.integers(-128, 128, (rows, blocks, 32), dtype=np.int8)
    data = np.concatenate((scales.view(np.uint8), whole.view(np.uint8)), axis=-1)
    return data.reshape(rows, -1), (scales.astype(np.float32) * whole).reshape(rows, -1)


def q4_1(rows: int, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Random blocks of 32 (a float16 scale and minimum, then 16 bytes: low halves first) and their numbers."""
    random = np.random.default_rng(2)
    scales, least = random.normal(size=(2, rows, blocks, 1)).astype(np.float16)
    halves = random.integers(0, 16, (rows, blocks, 32), dtype=np.uint8)
    packed = halves[..., :16] | halves[..., 16:] << 4
    data = np.concatenate((scales.view(np.uint8), least.view(np.uint8), packed), axis=-1)
    return data.reshape(rows, -1), (scales.astype(np.float32) * halves + least.astype(np.float32)).reshape(rows, -1)


@pytest.mark.parametrize(
    ("blocks", "kind"), [(q8_0, GGMLQuantizationType.Q8_0), (q4_1, GGMLQuantizationType.Q4_1)], ids=["Q8_0", "Q4_1"]
)
def test_quantised_tensors_are_the_numbers_that_they_stand_for(
    as_gguf: Write,
    source: Path,
    tmp_path: Path,
    blocks: Callable[[int, int], tuple[np.ndarray, np.ndarray]],
    kind: GGMLQuantizationType,
) -> None:
    made = {EMBEDDING: blocks(266, 1), QUERY: blocks(32, 1)}
    tensors = {key: (data, kind) for key, (data, _) in made.items()}
    model = read_gguf(as_gguf(source, tmp_path / "some.gguf", tensors=tensors))
    # The file has the two halves of each of four heads row by row in turn, the model one after the other.
    turned = [8 * head + 2 * pair + half for head in range(4) for half in range(2) for pair in range(4)]
    for key, order in ((EMBEDDING, list(range(266))), (QUERY, turned)):
        data, numbers = made[key]
        found = model.weight(key)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, numbers[order], rtol=1e-6, atol=1e-6)
        assert np.array_equal(found, dequantize(data, kind)[order])


# ---- what is refused


@pytest.mark.parametrize(
    ("key", "value", "supported"),
    [
        ("tokenizer.ggml.pre", "llama-bpe", "smollm"),
        ("tokenizer.ggml.pre", None, "smollm"),
        ("tokenizer.ggml.model", "llama", "gpt2"),
        ("llama.rope.scaling.type", "yarn", "none"),
        ("tokenizer.ggml.add_bos_token", True, "False"),
    ],
)
def test_what_no_judge_has_confirmed_is_refused_by_name(
    as_gguf: Write, source: Path, tmp_path: Path, key: str, value: Any, supported: str
) -> None:
    message = refused(as_gguf(source, tmp_path / "some.gguf", fields={key: value}))
    assert message.endswith(f"{key} {value!r} is not supported; supported: {supported}")


def test_another_architecture_is_refused_by_name(as_gguf: Write, source: Path, tmp_path: Path) -> None:
    message = refused(as_gguf(source, tmp_path / "some.gguf", architecture="gpt2"))
    assert message.endswith("general.architecture 'gpt2' is not supported; supported: llama")


@pytest.mark.parametrize(
    "key",
    [
        "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon",
        "llama.context_length",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.token_type",
        "tokenizer.ggml.merges",
        "tokenizer.ggml.eos_token_id",
    ],
)
def test_a_missing_key_is_named(as_gguf: Write, source: Path, tmp_path: Path, key: str) -> None:
    assert key in refused(as_gguf(source, tmp_path / "some.gguf", fields={key: None}))


@pytest.mark.parametrize("name", ["rope_freqs.weight", "blk.0.attn_q.bias", "blk.0.ffn_gate_exps.weight"])
def test_an_unknown_tensor_is_named(as_gguf: Write, source: Path, tmp_path: Path, name: str) -> None:
    extra = {name: (np.ones(32, np.float32), GGMLQuantizationType.F32)}
    assert f"the tensor {name} is unknown" in refused(as_gguf(source, tmp_path / "some.gguf", tensors=extra))


def test_a_file_that_is_cut_anywhere_is_refused_in_one_line(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    cut = tmp_path / "cut.gguf"
    for length in [0, 3, 4, 11, 20, *range(30, len(whole), 997), len(whole) - 4]:
        cut.write_bytes(whole[:length])
        assert "is not a readable GGUF file" in refused(cut)


@pytest.mark.parametrize(
    ("text", "damaged"), [(b"{{ messages }}", b"\xff\xff messages }}"), (b"architecture", b"architectur\xff")]
)
def test_a_damaged_text_is_refused_in_one_line(file: Path, tmp_path: Path, text: bytes, damaged: bytes) -> None:
    whole = file.read_bytes()
    assert text in whole
    (tmp_path / "some.gguf").write_bytes(whole.replace(text, damaged))
    refused(tmp_path / "some.gguf")


def test_a_token_outside_the_vocabulary_is_refused_in_one_line(as_gguf: Write, source: Path, tmp_path: Path) -> None:
    refused(as_gguf(source, tmp_path / "some.gguf", fields={"tokenizer.ggml.eos_token_id": 9999}))


@pytest.mark.parametrize(
    "content", [b"no model at all, but long enough to be one", b"GGUF\xff\xff\xff\xff" + bytes(64)]
)
def test_what_is_no_gguf_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "some.gguf").write_bytes(content)
    assert "is not a readable GGUF file" in refused(tmp_path / "some.gguf")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "some.gguf" in refused(tmp_path / "some.gguf")
