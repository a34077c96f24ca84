"""GGUF files: written from known arrays and read back, by hand where a format is quantised, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from stages.lm.config import parse_config, read_config
from stages.lm.errors import ModelError
from stages.lm.gguf import read_gguf, write_model
from stages.lm.loading import LanguageModel, open_model
from stages.lm.weights import check_weights
from tests.lm.plain import plain_frequency

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


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_other_architectures_come_back_bit_by_bit(tiny: TinyModel, as_gguf: Write, tmp_path: Path, family: str) -> None:
    changes = {"model_type": family, "tie_word_embeddings": False, "head_dim": 12}
    tiny(seed=7, folder=tmp_path / "source", **changes)
    width = {f"{family}.attention.key_length": 12, f"{family}.rope.dimension_count": None}
    written = tmp_path / "written"
    written.mkdir()
    write_model(read_gguf(as_gguf(tmp_path / "source", tmp_path / "some.gguf", fields=width)), written)
    assert read_config(written / "config.json") == read_config(tmp_path / "source" / "config.json")
    expected, found = load_file(tmp_path / "source" / "model.safetensors"), load_file(written / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key], expected[key]) for key in expected)


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8_192,
}
ROPE = "rope_freqs.weight"


def test_the_rope_of_llama_3_follows_from_its_divisors(tiny: TinyModel, as_gguf: Write, tmp_path: Path) -> None:
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
    assert f"the tensor {ROPE} holds no frequencies of Llama 3" in message


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
def test_where_a_kind_of_vocabulary_cuts(
    as_gguf: Write, source: Path, tmp_path: Path, kind: str, text: str, pieces: list[str]
) -> None:
    tokenizer = tokenizer_of(as_gguf(source, tmp_path / "some.gguf", fields={"tokenizer.ggml.pre": kind}))
    cut = tokenizer.pre_tokenizer.pre_tokenize_str(text)
    assert [piece for piece, _ in cut] == pieces


def tokenizer_of(file: Path) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(read_gguf(file).tokenizer))


@pytest.mark.parametrize(
    ("kind", "said", "begins"),
    [
        ("smollm", None, False),
        ("smollm", True, True),
        ("qwen2", False, False),
        ("llama-bpe", None, True),
        ("llama-bpe", False, False),
    ],
)
def test_a_text_begins_as_the_file_says(
    as_gguf: Write, source: Path, tmp_path: Path, kind: str, said: bool | None, begins: bool
) -> None:
    fields = {"tokenizer.ggml.pre": kind, "tokenizer.ggml.add_bos_token": said}
    encoded = tokenizer_of(as_gguf(source, tmp_path / "some.gguf", fields=fields)).encode("no").tokens
    assert encoded == (["<|begin|>", "no"] if begins else ["no"])


def test_a_user_s_own_token_is_whole_and_not_special(as_gguf: Write, source: Path, tmp_path: Path) -> None:
    words = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    kinds = [3 if index < 2 else 4 if word == "12" else 1 for word, index in sorted(words.items(), key=lambda w: w[1])]
    tokenizer = tokenizer_of(as_gguf(source, tmp_path / "some.gguf", fields={"tokenizer.ggml.token_type": kinds}))
    assert tokenizer.encode("a123").tokens == ["a", "12", "3"]
    assert tokenizer.decode(tokenizer.encode("a12<|end|>").ids) == "a12"


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


def q4_0(rows: int, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Random blocks of 32 (a float16 scale, then 16 bytes: low halves first, each less 8) and their numbers."""
    random = np.random.default_rng(3)
    scales = random.normal(size=(rows, blocks, 1)).astype(np.float16)
    halves = random.integers(0, 16, (rows, blocks, 32), dtype=np.uint8)
    packed = halves[..., :16] | halves[..., 16:] << 4
    data = np.concatenate((scales.view(np.uint8), packed), axis=-1)
    return data.reshape(rows, -1), (scales.astype(np.float32) * (halves.astype(np.float32) - 8.0)).reshape(rows, -1)


def bf16(rows: int, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """The upper halves of float32 numbers."""
    values = np.random.default_rng(4).normal(size=(rows, blocks * 32)).astype(np.float32)
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)
    return upper.view(np.uint8).reshape(rows, -1), (upper.astype(np.uint32) << 16).view(np.float32)


@pytest.mark.parametrize(
    ("blocks", "kind"),
    [(function, GGMLQuantizationType[function.__name__.upper()]) for function in (q8_0, q4_0, q4_1, bf16)],
    ids=["Q8_0", "Q4_0", "Q4_1", "BF16"],
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


def q6_k(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Random blocks of 256 in halves of 128, these in quarters of 32, and the numbers that they stand for.

    A block is 128 bytes of low halves (quarters 0 and 2 of a half share bytes, and 1 and 3), 64 bytes of two upper bits
    (all quarters share bytes), 16 signed scales (each of 16 numbers) and a float16 scale of all.
    """
    random = np.random.default_rng(5)
    whole = random.integers(0, 64, (rows, 2, 4, 32), dtype=np.uint8)
    scales = random.integers(-128, 128, (rows, 16), dtype=np.int8)
    all_scale = random.normal(size=(rows, 1)).astype(np.float16)
    low, high = whole & 15, whole >> 4
    lows = np.concatenate((low[:, :, 0] | low[:, :, 2] << 4, low[:, :, 1] | low[:, :, 3] << 4), axis=-1)
    highs = high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6
    parts = (lows.reshape(rows, -1), highs.reshape(rows, -1), scales.view(np.uint8), all_scale.view(np.uint8))
    numbers = all_scale.astype(np.float32)[..., None] * scales.astype(np.float32)[..., None]
    return np.concatenate(parts, axis=1), (numbers * (whole.reshape(rows, 16, 16) - 32.0)).reshape(rows, -1)


def q4_k(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Random blocks of 256 in eight runs of 32, and the numbers that they stand for.

    A block is a float16 scale and a float16 minimum of all, the runs' scales and minima of six bits each in 12 bytes
    (four of scales, four of minima, four of the lower bits of the last four runs, whose upper bits fill up the others),
    and 128 bytes of halves (of two runs each, low halves first).
    """
    random = np.random.default_rng(6)
    both = random.normal(size=(rows, 2)).astype(np.float16)
    scales, least = random.integers(0, 64, (2, rows, 8), dtype=np.uint8)
    halves = random.integers(0, 16, (rows, 4, 2, 32), dtype=np.uint8)
    packed = np.concatenate(
        (
            scales[:, :4] | scales[:, 4:] >> 4 << 6,
            least[:, :4] | least[:, 4:] >> 4 << 6,
            scales[:, 4:] & 15 | least[:, 4:] << 4,
        ),
        axis=1,
    )
    data = np.concatenate(
        (both.view(np.uint8), packed, (halves[:, :, 0] | halves[:, :, 1] << 4).reshape(rows, -1)), axis=1
    )
    wide = both.astype(np.float32)
    numbers = (wide[:, :1] * scales)[..., None] * halves.reshape(rows, 8, 32) - (wide[:, 1:] * least)[..., None]
    return data, numbers.reshape(rows, -1)


@pytest.mark.parametrize(("blocks", "kind"), [(q4_k, "Q4_K"), (q6_k, "Q6_K")])
def test_k_quantised_tensors_are_the_numbers_that_they_stand_for(
    tiny: TinyModel, as_gguf: Write, tmp_path: Path, blocks: Callable[[int], tuple[np.ndarray, np.ndarray]], kind: str
) -> None:
    tiny(seed=5, folder=tmp_path / "wide", hidden_size=256, intermediate_size=32, num_hidden_layers=1)
    data, numbers = blocks(266)
    tensors = {EMBEDDING: (data, GGMLQuantizationType[kind])}
    model = read_gguf(as_gguf(tmp_path / "wide", tmp_path / "some.gguf", tensors=tensors))
    np.testing.assert_allclose(model.weight(EMBEDDING), numbers, rtol=1e-5, atol=1e-4)


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
        ("tokenizer.ggml.add_eos_token", True, "False"),
    ],
)
def test_what_no_judge_has_confirmed_is_refused_by_name(
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
