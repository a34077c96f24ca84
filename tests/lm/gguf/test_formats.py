"""The number formats of GGUF: blocks put together here, bit by bit, and the numbers that they stand for."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from stages.lm.gguf.reader import KINDS, read_gguf
from tests.helpers.tiny_model import TinyModel

Write = Callable[..., Path]
# The bytes of a tensor's rows, and the numbers that they stand for.
Made = tuple[np.ndarray, np.ndarray]

EMBEDDING = "model.embed_tokens.weight"
QUERY = "model.layers.0.self_attn.q_proj.weight"
# A row: one block of the K kinds, eight of the others.
WIDTH = 256


def joined(*parts: np.ndarray) -> np.ndarray:
    """The parts of each block side by side, blocks in rows."""
    rows = len(parts[0])
    columns = [np.ascontiguousarray(part).view(np.uint8).reshape(*part.shape[:-1], -1) for part in parts]
    return np.concatenate(columns, axis=-1).reshape(rows, -1)


def scales_of(random: np.random.Generator, rows: int, *shape: int) -> np.ndarray:
    return random.normal(size=(rows, *shape)).astype(np.float16)


def wide(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)


def whole_bits(whole: np.ndarray, first: int, bits: int) -> np.ndarray:
    """So many bits of each whole number, from the bit `first` on."""
    return (whole >> first) & ((1 << bits) - 1)


# ---- plain numbers


def f32(rows: int, random: np.random.Generator) -> Made:
    values = wide(random.normal(size=(rows, WIDTH)))
    return values, values


def f16(rows: int, random: np.random.Generator) -> Made:
    values = random.normal(size=(rows, WIDTH)).astype(np.float16)
    return values, wide(values)


def bf16(rows: int, random: np.random.Generator) -> Made:
    """The upper halves of float32 numbers."""
    upper = (wide(random.normal(size=(rows, WIDTH))).view(np.uint32) >> 16).astype(np.uint16)
    return joined(upper), (upper.astype(np.uint32) << 16).view(np.float32)


# ---- blocks of 32


def q8_0(rows: int, random: np.random.Generator) -> Made:
    """A float16 scale, then 32 signed bytes."""
    scale = scales_of(random, rows, 8, 1)
    whole = random.integers(-128, 128, (rows, 8, 32), dtype=np.int8)
    return joined(scale, whole), (wide(scale) * whole).reshape(rows, -1)


def halves(whole: np.ndarray) -> np.ndarray:
    """The lower four bits of each number of a block in 16 bytes: the first 16 below, the others above."""
    low = whole_bits(whole, 0, 4)
    return low[..., :16] | low[..., 16:] << 4


def fifth_bits(whole: np.ndarray) -> np.ndarray:
    """The fifth bit of each number of a block, in order, in four bytes."""
    return np.packbits(whole_bits(whole, 4, 1), axis=-1, bitorder="little")


def q4_0(rows: int, random: np.random.Generator) -> Made:
    """A float16 scale, then halves of bytes, each less 8."""
    scale, whole = scales_of(random, rows, 8, 1), random.integers(0, 16, (rows, 8, 32), dtype=np.uint8)
    return joined(scale, halves(whole)), (wide(scale) * (wide(whole) - 8)).reshape(rows, -1)


def q4_1(rows: int, random: np.random.Generator) -> Made:
    """A float16 scale and minimum, then halves of bytes."""
    (scale, least), whole = scales_of(random, 2, rows, 8, 1), random.integers(0, 16, (rows, 8, 32), dtype=np.uint8)
    return joined(scale, least, halves(whole)), (wide(scale) * whole + wide(least)).reshape(rows, -1)


def q5_0(rows: int, random: np.random.Generator) -> Made:
    """A float16 scale, the fifth bits, then halves of bytes: five bits, less 16."""
    scale, whole = scales_of(random, rows, 8, 1), random.integers(0, 32, (rows, 8, 32), dtype=np.uint8)
    numbers = wide(scale) * (wide(whole) - 16)
    return joined(scale, fifth_bits(whole), halves(whole)), numbers.reshape(rows, -1)


def q5_1(rows: int, random: np.random.Generator) -> Made:
    """A float16 scale and minimum, the fifth bits, then halves of bytes."""
    (scale, least), whole = scales_of(random, 2, rows, 8, 1), random.integers(0, 32, (rows, 8, 32), dtype=np.uint8)
    numbers = wide(scale) * whole + wide(least)
    return joined(scale, least, fifth_bits(whole), halves(whole)), numbers.reshape(rows, -1)


# ---- blocks of 256


def q2_k(rows: int, random: np.random.Generator) -> Made:
    """Sixteen bytes of scales (below) and minima (above) of 16 numbers each, the numbers, two float16 scales of both.

    Each half of a block has 32 bytes; its quarters lie in two bits each.
    """
    whole = random.integers(0, 4, (rows, 2, 4, 32), dtype=np.uint8)
    scales, least = random.integers(0, 16, (2, rows, 16), dtype=np.uint8)
    both = scales_of(random, rows, 2)
    numbers = (wide(both)[:, :1] * scales)[..., None] * whole.reshape(rows, 16, 16)
    numbers = numbers - (wide(both)[:, 1:] * least)[..., None]
    return joined(scales | least << 4, quarters(whole), both), numbers.reshape(rows, -1)


def quarters(whole: np.ndarray) -> np.ndarray:
    """The lower two bits of numbers [rows, halves, quarters, 32]: the quarters of a half share its bytes."""
    two = whole_bits(whole, 0, 2)
    return (two[:, :, 0] | two[:, :, 1] << 2 | two[:, :, 2] << 4 | two[:, :, 3] << 6).reshape(len(whole), -1)


def q3_k(rows: int, random: np.random.Generator) -> Made:
    """The third bits (a bit of 32 bytes for each run of 32), the lower two, scales of six bits, a float16 scale of all.

    Of the sixteen scales, each less 32, twelve bytes hold the lower four bits of the first eight and, above, of the
    others; then the upper two bits, of every fourth in one byte. Numbers are less 4.
    """
    whole = random.integers(0, 8, (rows, 2, 4, 32), dtype=np.uint8)
    scales, of_all = random.integers(0, 64, (rows, 16), dtype=np.uint8), scales_of(random, rows, 1)
    thirds = np.packbits(whole_bits(whole, 2, 1).reshape(rows, 8, 32), axis=1, bitorder="little")[:, 0]
    low, high = whole_bits(scales, 0, 4), whole_bits(scales, 4, 2)
    uppers = high[:, :4] | high[:, 4:8] << 2 | high[:, 8:12] << 4 | high[:, 12:] << 6
    numbers = (wide(of_all) * (wide(scales) - 32))[..., None] * (wide(whole).reshape(rows, 16, 16) - 4)
    packed = joined(thirds, quarters(whole), low[:, :8] | low[:, 8:] << 4, uppers, of_all)
    return packed, numbers.reshape(rows, -1)


def in_twelve(scales: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Eight scales and eight minima of six bits each.

    Four bytes of scales and four of minima, then four of the lower bits of the last four of both, whose upper bits fill
    up the others.
    """
    parts = [values[:, :4] | values[:, 4:] >> 4 << 6 for values in (scales, least)]
    return np.concatenate([*parts, whole_bits(scales[:, 4:], 0, 4) | least[:, 4:] << 4], axis=1)


def runs(whole: np.ndarray) -> np.ndarray:
    """The lower four bits of numbers [rows, 4, 2, 32]: two runs of 32 share their bytes."""
    low = whole_bits(whole, 0, 4)
    return (low[:, :, 0] | low[:, :, 1] << 4).reshape(len(whole), -1)


def q4_k(rows: int, random: np.random.Generator) -> Made:
    """A float16 scale of scales and one of minima, the scales and minima of runs of 32, and halves of bytes."""
    packed, numbers, whole = of_runs(rows, random, 16)
    return joined(*packed, runs(whole)), numbers


def q5_k(rows: int, random: np.random.Generator) -> Made:
    """As Q4_K, with the fifth bits (a bit of 32 bytes for each run) before the halves of bytes."""
    packed, numbers, whole = of_runs(rows, random, 32)
    fifths = np.packbits(whole_bits(whole, 4, 1).reshape(rows, 8, 32), axis=1, bitorder="little")[:, 0]
    return joined(*packed, fifths, runs(whole)), numbers


def of_runs(
    rows: int, random: np.random.Generator, most: int
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]:
    """What a block of eight runs begins with, its numbers, and the whole numbers below `most` that they are made of."""
    whole = random.integers(0, most, (rows, 4, 2, 32), dtype=np.uint8)
    scales, least = random.integers(0, 64, (2, rows, 8), dtype=np.uint8)
    both = scales_of(random, rows, 2)
    numbers = (wide(both)[:, :1] * scales)[..., None] * whole.reshape(rows, 8, 32)
    numbers = numbers - (wide(both)[:, 1:] * least)[..., None]
    return (both, in_twelve(scales, least)), numbers.reshape(rows, -1), whole


def q6_k(rows: int, random: np.random.Generator) -> Made:
    """The lower four bits, the upper two, sixteen signed scales of 16 numbers each, and a float16 scale of all.

    In each half of a block, quarters 0 and 2 share bytes of lower bits, and 1 and 3; all four share the upper ones.
    Numbers are less 32.
    """
    whole = random.integers(0, 64, (rows, 2, 4, 32), dtype=np.uint8)
    scales, of_all = random.integers(-128, 128, (rows, 16), dtype=np.int8), scales_of(random, rows, 1)
    low = whole_bits(whole, 0, 4)
    lows = np.concatenate((low[:, :, 0] | low[:, :, 2] << 4, low[:, :, 1] | low[:, :, 3] << 4), axis=-1)
    numbers = (wide(of_all) * wide(scales))[..., None] * (wide(whole).reshape(rows, 16, 16) - 32)
    packed = joined(lows.reshape(rows, -1), quarters(whole >> 4), scales, of_all)
    return packed, numbers.reshape(rows, -1)


FORMATS = {
    GGMLQuantizationType[make.__name__.upper()]: make
    for make in (f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q2_k, q3_k, q4_k, q5_k, q6_k)
}


@pytest.fixture(scope="module")
def source(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose rows are whole blocks of any format."""
    folder = tmp_path_factory.mktemp("source")
    tiny(seed=5, folder=folder, hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=1)
    return folder


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_a_tensor_is_the_numbers_that_its_blocks_stand_for(
    as_gguf: Write, source: Path, tmp_path: Path, kind: GGMLQuantizationType
) -> None:
    random = np.random.default_rng(1)
    made = {EMBEDDING: FORMATS[kind](266, random), QUERY: FORMATS[kind](32, random)}
    tensors = {key: (data, kind) for key, (data, _) in made.items()}
    model = read_gguf(as_gguf(source, tmp_path / "some.gguf", tensors=tensors))
    # The file has the two halves of each of four heads row by row in turn, the model one after the other.
    turned = [8 * head + 2 * pair + half for head in range(4) for half in range(2) for pair in range(4)]
    for key, order in ((EMBEDDING, list(range(266))), (QUERY, turned)):
        found = model.weight(key)
        assert found.dtype == np.float32
        numbers = made[key][1][order]
        np.testing.assert_allclose(found, numbers, rtol=1e-6, atol=1e-6 * np.abs(numbers).max())
