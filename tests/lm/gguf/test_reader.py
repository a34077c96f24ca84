"""GGUF files: written from known arrays and read back; their vocabularies; and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from stages.core.errors import ModelError
from stages.lm.gguf.reader import read_gguf, write_model
from stages.lm.io.hf_config import parse_config, read_config
from stages.lm.io.load import open_model
from stages.lm.io.weights import check_weights
from tests.helpers.plain_decoder import plain_frequency
from tests.helpers.refusals import refusal_of
from tests.helpers.tiny_model import TinyModel

Write = Callable[..., Path]

EMBEDDING = "model.embed_tokens.weight"


@pytest.fixture(scope="module")
def source(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose rows are complete blocks of 32 numbers, as the quantised formats need."""
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
    return refusal_of(lambda: read_gguf(path), path, ModelError)


def test_weights_are_restored_exactly(source: Path, written: Path) -> None:
    expected, actual = load_file(source / "model.safetensors"), load_file(written / "model.safetensors")
    assert actual.keys() == expected.keys()
    for key, values in expected.items():
        assert actual[key].dtype == np.float32
        assert np.array_equal(actual[key], values), key


def test_the_config_describes_the_same_decoder(source: Path, written: Path) -> None:
    assert read_config(written / "config.json") == read_config(source / "config.json")


def test_the_folder_loads_with_the_same_tokenizer(source: Path, written: Path) -> None:
    check_weights(written, read_config(written / "config.json"))
    expected, actual = open_model(source).tokenizer, open_model(written).tokenizer
    text = "it is no (A) ß<|end|>\n  this"
    assert expected.encode(text).ids == actual.encode(text).ids
    assert actual.decode(actual.encode(text).ids, skip_special_tokens=False) == text
    # This kind of vocabulary splits numbers into digits.
    assert (expected.encode("12").tokens, actual.encode("12").tokens) == (["12"], ["1", "2"])


def test_the_json_files_beside_the_weights(written: Path) -> None:
    files = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in written.glob("*.json")}
    assert files["generation_config.json"] == {"bos_token_id": 0, "eos_token_id": 1}
    assert files["tokenizer_config.json"] == {
        "add_prefix_space": False,
        "bos_token": "<|begin|>",
        "chat_template": "{{ messages }}",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|end|>",
        "model_max_length": 128,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    assert files["config.json"]["rms_norm_eps"] == 1e-5


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


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_weights_of_other_architectures_are_restored_exactly(
    tiny: TinyModel, as_gguf: Write, tmp_path: Path, family: str
) -> None:
    changes = {"model_type": family, "tie_word_embeddings": False, "head_dim": 12}
    tiny(seed=7, folder=tmp_path / "source", **changes)
    width = {f"{family}.attention.key_length": 12, f"{family}.rope.dimension_count": None}
    written = tmp_path / "written"
    written.mkdir()
    write_model(read_gguf(as_gguf(tmp_path / "source", tmp_path / "some.gguf", fields=width)), written)
    assert read_config(written / "config.json") == read_config(tmp_path / "source" / "config.json")
    expected, actual = load_file(tmp_path / "source" / "model.safetensors"), load_file(written / "model.safetensors")
    assert actual.keys() == expected.keys()
    assert all(np.array_equal(actual[key], expected[key]) for key in expected)


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8_192,
}
ROPE = "rope_freqs.weight"


def test_the_rope_of_llama_3_is_recovered_from_its_divisors(tiny: TinyModel, as_gguf: Write, tmp_path: Path) -> None:
    tiny(seed=7, folder=tmp_path / "source", head_dim=32, rope_parameters=LLAMA3)
    plain = {**LLAMA3, "rope_type": "default"}
    divisors = [plain_frequency(plain, pair / 16) / plain_frequency(LLAMA3, pair / 16) for pair in range(16)]
    assert {1.0, 32.0} < set(divisors)
    tensors = {ROPE: (np.array(divisors, np.float32), GGMLQuantizationType.F32)}
    model = read_gguf(as_gguf(tmp_path / "source", tmp_path / "some.gguf", tensors=tensors))
    assert parse_config(model.config) == read_config(tmp_path / "source" / "config.json")
    assert ROPE not in model.tensors


def test_other_divisors_are_refused(as_gguf: Write, source: Path, tmp_path: Path) -> None:
    tensors = {ROPE: (np.array([1.0, 2.0, 3.0, 4.0], np.float32), GGMLQuantizationType.F32)}
    message = refused(as_gguf(source, tmp_path / "some.gguf", tensors=tensors))
    assert f"the tensor {ROPE} does not have Llama 3's frequencies" in message


# ---- vocabularies


@pytest.mark.parametrize(
    ("kind", "text", "pieces"),
    [
        ("smollm", "This is 1234\n\n no", ["This", "Ġis", "Ġ", "1", "2", "3", "4", "ĊĊ", "Ġno"]),
        ("llama-bpe", "This is 1234\n\n no", ["This", "Ġis", "Ġ", "123", "4", "ĊĊ", "Ġno"]),
        ("qwen2", "This is 1234\n\n no", ["This", "Ġis", "Ġ", "1", "2", "3", "4", "ĊĊ", "Ġno"]),
        ("smollm", "IT'S (A).\n", ["IT", "'", "S", "Ġ(", "A", ").", "Ċ"]),
        ("qwen2", "IT'S (A).\n", ["IT", "'S", "Ġ(", "A", ").Ċ"]),
    ],
)
def test_how_each_kind_of_vocabulary_splits_text(
    as_gguf: Write, source: Path, tmp_path: Path, kind: str, text: str, pieces: list[str]
) -> None:
    tokenizer = tokenizer_of(as_gguf(source, tmp_path / "some.gguf", fields={"tokenizer.ggml.pre": kind}))
    split = tokenizer.pre_tokenizer.pre_tokenize_str(text)
    assert [piece for piece, _ in split] == pieces


def tokenizer_of(file: Path) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(read_gguf(file).tokenizer))


@pytest.mark.parametrize(
    ("kind", "add_bos_token", "begins"),
    [
        ("smollm", None, False),
        ("smollm", True, True),
        ("qwen2", False, False),
        ("llama-bpe", None, True),
        ("llama-bpe", False, False),
    ],
)
def test_the_begin_token_is_added_if_the_file_says_so(
    as_gguf: Write, source: Path, tmp_path: Path, kind: str, add_bos_token: bool | None, begins: bool
) -> None:
    fields = {"tokenizer.ggml.pre": kind, "tokenizer.ggml.add_bos_token": add_bos_token}
    encoded = tokenizer_of(as_gguf(source, tmp_path / "some.gguf", fields=fields)).encode("no").tokens
    assert encoded == (["<|begin|>", "no"] if begins else ["no"])


def test_a_user_defined_token_is_not_split_and_not_special(as_gguf: Write, source: Path, tmp_path: Path) -> None:
    words = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    kinds = [3 if index < 2 else 4 if word == "12" else 1 for word, index in sorted(words.items(), key=lambda w: w[1])]
    tokenizer = tokenizer_of(as_gguf(source, tmp_path / "some.gguf", fields={"tokenizer.ggml.token_type": kinds}))
    assert tokenizer.encode("a123").tokens == ["a", "12", "3"]
    assert tokenizer.decode(tokenizer.encode("a12<|end|>").ids) == "a12"


# ---- what is refused


@pytest.mark.parametrize("kind", ["TQ1_0", "IQ4_NL"])
def test_another_number_format_is_refused_by_name(as_gguf: Write, source: Path, tmp_path: Path, kind: str) -> None:
    format = GGMLQuantizationType[kind]
    numbers, size = GGML_QUANT_SIZES[format]
    data = np.zeros((266, size * -(-32 // numbers)), np.uint8)
    message = refused(as_gguf(source, tmp_path / "some.gguf", tensors={EMBEDDING: (data, format)}))
    assert f"tensors of the kind {kind} are not supported; supported: F32, F16, BF16, Q8_0, Q4_0" in message


@pytest.mark.parametrize(
    ("key", "value", "supported"),
    [
        ("tokenizer.ggml.pre", "tekken", "smollm, llama-bpe, qwen2"),
        ("tokenizer.ggml.pre", None, "smollm, llama-bpe, qwen2"),
        ("tokenizer.ggml.model", "llama", "gpt2"),
        ("llama.rope.scaling.type", "yarn", "none"),
        ("llama.rope.scaling.factor", 4.0, "1.0"),
        ("llama.rope.scale_linear", 4.0, "1.0"),
        ("llama.rope.dimension_count", 4, "8"),
        ("split.count", 2, "0, 1"),
        ("tokenizer.ggml.add_eos_token", True, "False"),
    ],
)
def test_unsupported_fields_are_refused_by_name(
    as_gguf: Write, source: Path, tmp_path: Path, key: str, value: Any, supported: str
) -> None:
    message = refused(as_gguf(source, tmp_path / "some.gguf", fields={key: value}))
    assert message.endswith(f"{key} {value!r} is not supported; supported: {supported}")


def test_another_architecture_is_refused_by_name(as_gguf: Write, source: Path, tmp_path: Path) -> None:
    message = refused(as_gguf(source, tmp_path / "some.gguf", architecture="gpt2"))
    assert message.endswith("general.architecture 'gpt2' is not supported; supported: llama, qwen2, qwen3")


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


@pytest.mark.parametrize("name", ["rope_factors_long.weight", "blk.0.attn_q.bias", "blk.0.ffn_gate_exps.weight"])
def test_an_unknown_tensor_is_named(as_gguf: Write, source: Path, tmp_path: Path, name: str) -> None:
    extra = {name: (np.ones(32, np.float32), GGMLQuantizationType.F32)}
    assert f"the tensor {name} is unknown" in refused(as_gguf(source, tmp_path / "some.gguf", tensors=extra))


def test_a_truncated_file_is_refused_in_one_line(file: Path, tmp_path: Path) -> None:
    content = file.read_bytes()
    truncated = tmp_path / "truncated.gguf"
    for length in [0, 3, 4, 11, 20, *range(30, len(content), 997), len(content) - 4]:
        truncated.write_bytes(content[:length])
        assert "is not a readable GGUF file" in refused(truncated)


@pytest.mark.parametrize(
    ("text", "damaged"), [(b"{{ messages }}", b"\xff\xff messages }}"), (b"architecture", b"architectur\xff")]
)
def test_a_damaged_text_is_refused_in_one_line(file: Path, tmp_path: Path, text: bytes, damaged: bytes) -> None:
    content = file.read_bytes()
    assert text in content
    (tmp_path / "some.gguf").write_bytes(content.replace(text, damaged))
    refused(tmp_path / "some.gguf")


def test_a_token_outside_the_vocabulary_is_refused_in_one_line(as_gguf: Write, source: Path, tmp_path: Path) -> None:
    refused(as_gguf(source, tmp_path / "some.gguf", fields={"tokenizer.ggml.eos_token_id": 9999}))


@pytest.mark.parametrize(
    "content", [b"no model at all, but long enough to be one", b"GGUF\xff\xff\xff\xff" + bytes(64)]
)
def test_a_file_that_is_not_gguf_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "some.gguf").write_bytes(content)
    assert "is not a readable GGUF file" in refused(tmp_path / "some.gguf")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "some.gguf" in refused(tmp_path / "some.gguf")
