"""Loading weights from safetensors and writing them, and the files that are refused."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from stages.core.errors import ModelError
from stages.lm.io import weights
from stages.lm.io.hf_config import parse_config, read_config
from stages.lm.io.safetensors_read import DTYPES, open_tensors, weight_files
from stages.lm.io.safetensors_write import as_pending, save_tensors
from stages.lm.io.weights import check_weights, load_decoder, tensors_of
from tests.helpers.families import FAMILIES
from tests.helpers.tiny_model import TinyModel

Tensors = dict[str, np.ndarray]

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
QUERY = "model.layers.1.self_attn.q_proj.weight"
INDEX = "model.safetensors.index.json"
GOLDEN = (
    "gemma2", "gemma3", "llama-tied", "llama-untied-bias", "llama3-rope", "mistral-window", "qwen2", "qwen3",
)  # fmt: skip


@pytest.fixture(scope="module")
def source(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    tiny(seed=1, folder=folder, tie_word_embeddings=False, attention_bias=True, mlp_bias=True)
    return folder


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "model"))


def tensors(folder: Path) -> Tensors:
    return load_file(folder / "model.safetensors")


def rewrite(folder: Path, change: Callable[[Tensors], object]) -> None:
    arrays = tensors(folder)
    change(arrays)
    save_file(arrays, folder / "model.safetensors")


def refused(folder: Path) -> str:
    """The message of the error that both `check_weights` and `load_decoder` raise for a folder."""
    config = read_config(folder / "config.json")
    messages = []
    for refuse in (check_weights, load_decoder):
        with pytest.raises(ModelError) as caught:
            refuse(folder, config)
        messages.append(str(caught.value))
    assert messages[0] == messages[1] and "\n" not in messages[0]
    return messages[0]


def types(folder: Path) -> dict[str, str]:
    return {key: tensor.type for key, tensor in open_tensors(folder).items()}


def written(source: Path, out: Path) -> Tensors:
    """Loads the model in `source` and writes it unchanged to `out`, in the types of the source, as `finetune` does."""
    out.mkdir(exist_ok=True)
    save_tensors(as_pending(tensors_of(load_decoder(source, read_config(source / "config.json"))), types(source)), out)
    assert types(out) == types(source)
    return {key: tensor.read() for key, tensor in open_tensors(out).items()}


def assert_round_trip(folder: Path, out: Path) -> None:
    expected, actual = open_tensors(folder), written(folder, out)
    assert actual.keys() == expected.keys()
    for key, tensor in expected.items():
        assert actual[key].shape == tensor.shape
        assert actual[key].tobytes() == tensor.read().tobytes(), key


@pytest.mark.parametrize("family", GOLDEN)
def test_a_round_trip_of_another_implementations_weights_is_exact(golden: Path, tmp_path: Path, family: str) -> None:
    assert_round_trip(golden / "tiny" / family, tmp_path)


VARIANTS: dict[str, dict[str, Any]] = FAMILIES | {
    "untied": {"tie_word_embeddings": False},
    "biases": {"attention_bias": True, "mlp_bias": True},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_round_trip_is_exact(tiny: TinyModel, tmp_path: Path, variant: str) -> None:
    tiny(seed=2, folder=tmp_path / "model", **VARIANTS[variant])
    assert_round_trip(tmp_path / "model", tmp_path / "out")


@pytest.mark.parametrize("piece_bytes", [1, 3_000])
def test_pieces_of_any_size_make_the_same_model(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(weights, "PIECE_BYTES", piece_bytes)
    assert_round_trip(source, tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_stored_in_bfloat16_give_the_same_logits_in_bfloat16(
    tiny: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """Exactly the same, loaded in pieces or not: weights are rounded once. Scales of norms stay float32."""
    monkeypatch.setattr(weights, "PIECE_BYTES", 3_000)
    tiny(seed=3, folder=tmp_path, **FAMILIES[family])
    config = read_config(tmp_path / "config.json")
    tokens, positions = jnp.arange(10, 18)[None], jnp.arange(8)[None]
    logits = []
    for dtype in (jnp.dtype("float32"), jnp.dtype("bfloat16")):
        model = load_decoder(tmp_path, config, dtype=dtype)
        hidden = model(tokens, positions, jnp.full((1, 8), 8), jnp.dtype("bfloat16"))
        logits.append(np.asarray(model.logits(hidden)))
        assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(model))} == {dtype, jnp.dtype("float32")}
        assert model.embedding[...].dtype == dtype
    np.testing.assert_array_equal(logits[0], logits[1])


def test_the_same_weights_give_the_same_bytes(source: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        written(source, tmp_path / name)
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "second"))
    assert first == second


def test_files_equal_those_of_the_safetensors_library(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    arrays = {name: random.normal(size=(3, size)) for name, size in (("b", 5), ("a", 1), ("ü", 2), ("c", 7))}
    kinds = dict(zip(arrays, ("F16", "F32", "F32", "BF16"), strict=True))
    save_tensors(as_pending(arrays, kinds), tmp_path)
    cast: Tensors = {key: array.astype(DTYPES[kinds[key]]) for key, array in arrays.items()}
    save_file(cast, tmp_path / "expected", metadata={"format": "pt"})
    assert (tmp_path / "model.safetensors").read_bytes() == (tmp_path / "expected").read_bytes()


def test_large_weights_are_written_in_parts_with_an_index(source: Path, tmp_path: Path) -> None:
    arrays = tensors(source)
    save_tensors(as_pending(arrays, types(source)), tmp_path, max_file_bytes=20_000)
    index, *files = weight_files(tmp_path)
    assert [path.name for path in files] == [
        f"model-{part:05}-of-{len(files):05}.safetensors" for part in range(1, 1 + len(files))
    ]
    # The embedding and the head are each larger than a part, so each has a file of its own.
    assert len(files) > 3 and sum(path.stat().st_size > 22_000 for path in files) == 2
    assert json.loads(index.read_text(encoding="utf-8"))["metadata"] == {
        "total_size": sum(a.nbytes for a in arrays.values())
    }
    assert not (tmp_path / "model.safetensors").exists()
    assert sorted(open_tensors(tmp_path)) == sorted(arrays)
    for key, tensor in open_tensors(tmp_path).items():
        assert np.array_equal(tensor.read(), arrays[key])


# ---- weights that do not match config.json


def test_every_problem_is_listed_at_once(folder: Path) -> None:
    def spoil(arrays: Tensors) -> None:
        del arrays["model.norm.weight"], arrays["model.layers.2.mlp.up_proj.weight"]
        arrays["model.layers.0.self_attn.q_norm.weight"] = np.ones(8, np.float32)
        arrays[QUERY] = np.ascontiguousarray(arrays[QUERY].T)

    rewrite(folder, spoil)
    start, _, problems = refused(folder).partition("the weights do not match config.json: ")
    assert start == f"{folder}: "
    assert problems.split("; ") == [
        "model.layers.0.self_attn.q_norm.weight is unknown",
        f"{QUERY} is (24, 32), expected (32, 24)",
        "model.layers.2.mlp.up_proj.weight is missing",
        "model.norm.weight is missing",
    ]


def test_an_extra_layer_is_unknown(folder: Path) -> None:
    rewrite(
        folder,
        lambda arrays: arrays.update({key.replace(".2.", ".3."): arrays[key] for key in [*arrays] if ".2." in key}),
    )
    assert refused(folder).count("model.layers.3.") == refused(folder).count(" is unknown") == 16


def test_an_untied_head_must_be_there(folder: Path) -> None:
    rewrite(folder, lambda arrays: arrays.pop("lm_head.weight"))
    assert refused(folder).endswith(": lm_head.weight is missing")


def test_a_repeated_head_and_old_rotary_frequencies_are_ignored(tied: Path) -> None:
    expected = tensors(tied)
    frequencies = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32)}
    rewrite(tied, lambda arrays: arrays.update(frequencies | {HEAD: arrays[EMBEDDING]}))
    config = read_config(tied / "config.json")
    check_weights(tied, config)
    actual = tensors_of(load_decoder(tied, config))
    assert actual.keys() == expected.keys()
    assert all(np.array_equal(actual[key], expected[key]) for key in expected)


@pytest.fixture
def tied(tiny: TinyModel, tmp_path: Path) -> Path:
    tiny(seed=1, folder=tmp_path)
    return tmp_path


def test_a_tied_head_of_another_shape_is_refused(tied: Path) -> None:
    rewrite(tied, lambda arrays: arrays.update({HEAD: np.zeros((3, 3), np.float32)}))
    assert refused(tied).endswith(f": {HEAD} is (3, 3), expected (266, 24)")


@pytest.mark.parametrize("piece_bytes", [3_000, 2**24])
def test_a_tied_head_that_is_not_the_embedding_is_refused(
    tied: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    """Nothing says which of the two is the right one."""
    monkeypatch.setattr(weights, "PIECE_BYTES", piece_bytes)

    def spoil(arrays: Tensors) -> None:
        arrays[HEAD] = arrays[EMBEDDING].copy()
        arrays[HEAD][265, 23] += 1

    rewrite(tied, spoil)
    with pytest.raises(ModelError, match=rf"^{re.escape(str(tied))}: config\.json ties the head .* remove {HEAD}$"):
        load_decoder(tied, read_config(tied / "config.json"))


# ---- files


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(folder: Path, share: float) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert str(path) in refused(folder) and "damaged" in refused(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert f"{folder / 'model.safetensors'} is missing" in refused(folder)


def shard(folder: Path) -> list[str]:
    """Splits the weights into three files with an index; returns their names."""
    arrays = tensors(folder)
    names = [f"model-{part}-of-3.safetensors" for part in (1, 2, 3)]
    for part, name in enumerate(names):
        save_file({key: arrays[key] for key in sorted(arrays)[part::3]}, folder / name)
    weight_map = {key: names[index % 3] for index, key in enumerate(sorted(arrays))}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}), encoding="utf-8")
    (folder / "model.safetensors").unlink()
    return names


def test_a_sharded_folder_has_the_same_weights(source: Path, folder: Path, tmp_path: Path) -> None:
    names = shard(folder)
    assert weight_files(folder) == [folder / INDEX, *(folder / name for name in names)]
    actual = written(folder, tmp_path / "out")
    for key, values in tensors(source).items():
        assert np.array_equal(actual[key], values), key


def test_an_index_that_does_not_match_its_files_is_named(folder: Path) -> None:
    first, second, _ = shard(folder)
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    moved = next(key for key, name in index["weight_map"].items() if name == first)
    index["weight_map"][moved] = second
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    assert f"{folder / INDEX} does not match its files (wrong file for {moved})" in refused(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    missing = folder / shard(folder)[1]
    missing.unlink()
    assert f"{missing} is missing" in refused(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 3}}'])
def test_a_damaged_index_is_named(folder: Path, content: str) -> None:
    shard(folder)
    (folder / INDEX).write_text(content, encoding="utf-8")
    assert str(folder / INDEX) in refused(folder)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/outside.safetensors"])
def test_an_index_that_names_a_file_outside_the_folder_is_refused(folder: Path, name: str) -> None:
    shard(folder)
    (folder / INDEX).write_text(json.dumps({"weight_map": {EMBEDDING: name}}), encoding="utf-8")
    assert str(folder / INDEX) in refused(folder)


# ---- number formats


def write_raw(path: Path, arrays: dict[str, tuple[str, np.ndarray]]) -> None:
    """Writes a safetensors file by hand: the length of the header, the header, then the tensors in order."""
    header: dict[str, Any] = {}
    body = b""
    for key, (kind, values) in arrays.items():
        begin = len(body)
        body += values.tobytes()
        header[key] = {"dtype": kind, "shape": values.shape, "data_offsets": [begin, len(body)]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


@pytest.mark.parametrize(("kind", "dtype"), [("BF16", ml_dtypes.bfloat16), ("F16", np.float16), ("F32", np.float32)])
def test_every_number_format_is_read_exactly(folder: Path, kind: str, dtype: type) -> None:
    rounded: dict[str, Any] = {key: values.astype(dtype) for key, values in tensors(folder).items()}
    limits = ml_dtypes.finfo(dtype)
    rounded[EMBEDDING][0, :6] = [0.0, -0.0, 1 / 3, limits.tiny, -limits.smallest_subnormal, limits.max]
    write_raw(folder / "model.safetensors", {key: (kind, values) for key, values in rounded.items()})
    actual = written(folder, folder / "out")
    for key, values in rounded.items():
        assert actual[key].tobytes() == values.astype(np.float32).tobytes(), key


@pytest.mark.parametrize("damage", [np.nan, np.inf])
@pytest.mark.parametrize("key", [EMBEDDING, QUERY])
def test_a_weight_that_is_not_finite_is_refused(folder: Path, key: str, damage: float) -> None:
    def spoil(arrays: Tensors) -> None:
        arrays[key][3, 3] = damage

    rewrite(folder, spoil)
    with pytest.raises(ModelError, match=f"^{re.escape(key)} has values that are not finite"):
        load_decoder(folder, read_config(folder / "config.json"))


@pytest.mark.parametrize(("kind", "dtype"), [("I8", np.int8), ("F8_E4M3", ml_dtypes.float8_e4m3fn)])
def test_quantised_weights_are_refused(folder: Path, kind: str, dtype: type) -> None:
    arrays = {key: ("F32", values) for key, values in tensors(folder).items()}
    arrays[QUERY] = (kind, arrays[QUERY][1].astype(dtype))
    write_raw(folder / "model.safetensors", arrays)
    assert QUERY in refused(folder)


def test_the_check_reads_no_weights(folder: Path) -> None:
    """A model of another size is refused by its header, without allocating its weights."""
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8")) | {"hidden_size": 1_000_000}
    with pytest.raises(ModelError, match=r"model\.norm\.weight is \(24,\), expected \(1000000,\)"):
        check_weights(folder, parse_config(raw))
