"""The number formats of GGUF: blocks packed here bit by bit, and the numbers that they encode."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from stages.lm.gguf.reader import KINDS, read_gguf
from tests.helpers.tiny_model import TinyModel

Write = Callable[..., Path]
# The bytes of a tensor's rows, and the numbers that they encode.
Packed = tuple[np.ndarray, np.ndarray]

EMBEDDING = "model.embed_tokens.weight"
QUERY = "model.layers.0.self_attn.q_proj.weight"
# The width of a row: one block of the K formats, eight blocks of the others.
WIDTH = 256


def joined(*parts: np.ndarray) -> np.ndarray:
    """Joins the parts of each block, in rows of blocks."""
    rows = len(parts[0])
    columns = [np.ascontiguousarray(part).view(np.uint8).reshape(*part.shape[:-1], -1) for part in parts]
    return np.concatenate(columns, axis=-1).reshape(rows, -1)


def scales_of(random: np.random.Generator, rows: int, *shape: int) -> np.ndarray:
    return random.normal(size=(rows, *shape)).astype(np.float16)


def wide(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)


def bit_range(integers: np.ndarray, first: int, bits: int) -> np.ndarray:
    """`bits` bits of each integer, from the bit `first` on."""
    return (integers >> first) & ((1 << bits) - 1)


# ---- plain numbers


def f32(rows: int, random: np.random.Generator) -> Packed:
    values = wide(random.normal(size=(rows, WIDTH)))
    return values, values


def f16(rows: int, random: np.random.Generator) -> Packed:
    values = random.normal(size=(rows, WIDTH)).astype(np.float16)
    return values, wide(values)


def bf16(rows: int, random: np.random.Generator) -> Packed:
    """The upper halves of float32 numbers."""
    upper = (wide(random.normal(size=(rows, WIDTH))).view(np.uint32) >> 16).astype(np.uint16)
    return joined(upper), (upper.astype(np.uint32) << 16).view(np.float32)


# ---- blocks of 32


def q8_0(rows: int, random: np.random.Generator) -> Packed:
    """A float16 scale, then 32 signed bytes."""
    scale = scales_of(random, rows, 8, 1)
    integers = random.integers(-128, 128, (rows, 8, 32), dtype=np.int8)
    return joined(scale, integers), (wide(scale) * integers).reshape(rows, -1)


def halves(integers: np.ndarray) -> np.ndarray:
    """The lower four bits of a block's numbers in 16 bytes: the first 16 numbers in the low halves of the bytes."""
    low = bit_range(integers, 0, 4)
    return low[..., :16] | low[..., 16:] << 4


def fifth_bits(integers: np.ndarray) -> np.ndarray:
    """The fifth bit of each number of a block, in order, in four bytes."""
    return np.packbits(bit_range(integers, 4, 1), axis=-1, bitorder="little")


def q4_0(rows: int, random: np.random.Generator) -> Packed:
    """A float16 scale, then four-bit numbers, offset by 8."""
    scale, integers = scales_of(random, rows, 8, 1), random.integers(0, 16, (rows, 8, 32), dtype=np.uint8)
    return joined(scale, halves(integers)), (wide(scale) * (wide(integers) - 8)).reshape(rows, -1)


def q4_1(rows: int, random: np.random.Generator) -> Packed:
    """A float16 scale and minimum, then four-bit numbers."""
    (scale, minima), integers = scales_of(random, 2, rows, 8, 1), random.integers(0, 16, (rows, 8, 32), dtype=np.uint8)
    return joined(scale, minima, halves(integers)), (wide(scale) * integers + wide(minima)).reshape(rows, -1)


def q5_0(rows: int, random: np.random.Generator) -> Packed:
    """A float16 scale, the fifth bits, then the lower four bits; numbers are offset by 16."""
    scale, integers = scales_of(random, rows, 8, 1), random.integers(0, 32, (rows, 8, 32), dtype=np.uint8)
    numbers = wide(scale) * (wide(integers) - 16)
    return joined(scale, fifth_bits(integers), halves(integers)), numbers.reshape(rows, -1)


def q5_1(rows: int, random: np.random.Generator) -> Packed:
    """A float16 scale and minimum, the fifth bits, then the lower four bits."""
    (scale, minima), integers = scales_of(random, 2, rows, 8, 1), random.integers(0, 32, (rows, 8, 32), dtype=np.uint8)
    numbers = wide(scale) * integers + wide(minima)
    return joined(scale, minima, fifth_bits(integers), halves(integers)), numbers.reshape(rows, -1)


# ---- blocks of 256


def q2_k(rows: int, random: np.random.Generator) -> Packed:
    """Sixteen bytes of scales (low) and minima (high) for 16 numbers each, the numbers, float16 scales of both.

    Each half of a block has 32 bytes, with two bits for each of its quarters.
    """
    integers = random.integers(0, 4, (rows, 2, 4, 32), dtype=np.uint8)
    scales, minima = random.integers(0, 16, (2, rows, 16), dtype=np.uint8)
    both = scales_of(random, rows, 2)
    numbers = (wide(both)[:, :1] * scales)[..., None] * integers.reshape(rows, 16, 16)
    numbers = numbers - (wide(both)[:, 1:] * minima)[..., None]
    return joined(scales | minima << 4, quarters(integers), both), numbers.reshape(rows, -1)


def quarters(integers: np.ndarray) -> np.ndarray:
    """The lower two bits of numbers [rows, halves, quarters, 32]; the quarters of a half share its bytes."""
    two = bit_range(integers, 0, 2)
    return (two[:, :, 0] | two[:, :, 1] << 2 | two[:, :, 2] << 4 | two[:, :, 3] << 6).reshape(len(integers), -1)


def q3_k(rows: int, random: np.random.Generator) -> Packed:
    """The third bits (a bit of 32 bytes for each run of 32), the lower two, six-bit scales, a float16 scale of scales.

    The sixteen scales, offset by 32, take twelve bytes: the lower four bits of the first eight (low halves) and of the
    others (high halves), then the upper two bits, with every fourth scale in one byte. Numbers are offset by 4.
    """
    integers = random.integers(0, 8, (rows, 2, 4, 32), dtype=np.uint8)
    scales, scale_of_scales = random.integers(0, 64, (rows, 16), dtype=np.uint8), scales_of(random, rows, 1)
    thirds = np.packbits(bit_range(integers, 2, 1).reshape(rows, 8, 32), axis=1, bitorder="little")[:, 0]
    low, high = bit_range(scales, 0, 4), bit_range(scales, 4, 2)
    uppers = high[:, :4] | high[:, 4:8] << 2 | high[:, 8:12] << 4 | high[:, 12:] << 6
    numbers = (wide(scale_of_scales) * (wide(scales) - 32))[..., None] * (wide(integers).reshape(rows, 16, 16) - 4)
    packed = joined(thirds, quarters(integers), low[:, :8] | low[:, 8:] << 4, uppers, scale_of_scales)
    return packed, numbers.reshape(rows, -1)


def in_twelve(scales: np.ndarray, minima: np.ndarray) -> np.ndarray:
    """Eight scales and eight minima of six bits each, in twelve bytes.

    Four bytes have the first four scales, four the first four minima, and four the lower bits of the last four of both.
    The upper bits of the last four are in the upper bits of the first eight bytes.
    """
    parts = [values[:, :4] | values[:, 4:] >> 4 << 6 for values in (scales, minima)]
    return np.concatenate([*parts, bit_range(scales[:, 4:], 0, 4) | minima[:, 4:] << 4], axis=1)


def runs(integers: np.ndarray) -> np.ndarray:
    """The lower four bits of numbers [rows, 4, 2, 32]: two runs of 32 share their bytes."""
    low = bit_range(integers, 0, 4)
    return (low[:, :, 0] | low[:, :, 1] << 4).reshape(len(integers), -1)


def q4_k(rows: int, random: np.random.Generator) -> Packed:
    """Float16 scales of scales and of minima, the scales and minima of runs of 32, and four-bit numbers."""
    packed, numbers, integers = of_runs(rows, random, 16)
    return joined(*packed, runs(integers)), numbers


def q5_k(rows: int, random: np.random.Generator) -> Packed:
    """Like Q4_K, with the fifth bits (a bit of 32 bytes for each run) before the lower four bits."""
    packed, numbers, integers = of_runs(rows, random, 32)
    fifths = np.packbits(bit_range(integers, 4, 1).reshape(rows, 8, 32), axis=1, bitorder="little")[:, 0]
    return joined(*packed, fifths, runs(integers)), numbers


def of_runs(
    rows: int, random: np.random.Generator, limit: int
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]:
    """The first parts of blocks of eight runs, their numbers, and the integers below `limit` that encode these."""
    integers = random.integers(0, limit, (rows, 4, 2, 32), dtype=np.uint8)
    scales, minima = random.integers(0, 64, (2, rows, 8), dtype=np.uint8)
    both = scales_of(random, rows, 2)
    numbers = (wide(both)[:, :1] * scales)[..., None] * integers.reshape(rows, 8, 32)
    numbers = numbers - (wide(both)[:, 1:] * minima)[..., None]
    return (both, in_twelve(scales, minima)), numbers.reshape(rows, -1), integers


def q6_k(rows: int, random: np.random.Generator) -> Packed:
    """The lower four bits, the upper two, sixteen signed scales for 16 numbers each, and a float16 scale of scales.

    In each half of a block, quarters 0 and 2 share the bytes of their lower bits, as do 1 and 3; all four share those
    of their upper bits. Numbers are offset by 32.
    """
    integers = random.integers(0, 64, (rows, 2, 4, 32), dtype=np.uint8)
    scales, scale_of_scales = random.integers(-128, 128, (rows, 16), dtype=np.int8), scales_of(random, rows, 1)
    low = bit_range(integers, 0, 4)
    lows = np.concatenate((low[:, :, 0] | low[:, :, 2] << 4, low[:, :, 1] | low[:, :, 3] << 4), axis=-1)
    numbers = (wide(scale_of_scales) * wide(scales))[..., None] * (wide(integers).reshape(rows, 16, 16) - 32)
    packed = joined(lows.reshape(rows, -1), quarters(integers >> 4), scales, scale_of_scales)
    return packed, numbers.reshape(rows, -1)


FORMATS = {
    GGMLQuantizationType[make.__name__.upper()]: make
    for make in (f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q2_k, q3_k, q4_k, q5_k, q6_k)
}


@pytest.fixture(scope="module")
def source(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose rows are complete blocks in every format."""
    folder = tmp_path_factory.mktemp("source")
    tiny(seed=5, folder=folder, hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=1)
    return folder


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_a_tensor_has_the_numbers_that_its_blocks_encode(
    as_gguf: Write, source: Path, tmp_path: Path, kind: GGMLQuantizationType
) -> None:
    random = np.random.default_rng(1)
    packed = {EMBEDDING: FORMATS[kind](266, random), QUERY: FORMATS[kind](32, random)}
    tensors = {key: (data, kind) for key, (data, _) in packed.items()}
    model = read_gguf(as_gguf(source, tmp_path / "some.gguf", tensors=tensors))
    # In the file, the two halves of each of the four heads are interleaved.
    deinterleaved = [8 * head + 2 * pair + half for head in range(4) for half in range(2) for pair in range(4)]
    for key, order in ((EMBEDDING, list(range(266))), (QUERY, deinterleaved)):
        actual = model.weight(key)
        assert actual.dtype == np.float32
        numbers = packed[key][1][order]
        np.testing.assert_allclose(actual, numbers, rtol=1e-6, atol=1e-6 * np.abs(numbers).max())
