"""The registry's models: sizes equal those of their decoders, names follow one pattern; and the printed list."""

import math
import re
from typing import Any, NamedTuple

import pytest

from stages.lm.io import weights
from stages.lm.io.hf_config import FAMILIES, parse_config
from stages.zoo.registry import MODELS, HubModel, memory_of
from tests.helpers.command import Candor


class Sizes(NamedTuple):
    """The values of a model's config.json that determine its number of parameters."""

    family: str
    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    feed_forward: int
    tied: bool


SIZES = {
    "smollm2-135m": Sizes("llama", 49_152, 576, 30, 9, 3, 64, 1_536, True),
    "smollm2-360m": Sizes("llama", 49_152, 960, 32, 15, 5, 64, 2_560, True),
    "smollm2-1.7b": Sizes("llama", 49_152, 2_048, 24, 32, 32, 64, 8_192, True),
    "llama-3.2-1b": Sizes("llama", 128_256, 2_048, 16, 32, 8, 64, 8_192, True),
    "llama-3.2-3b": Sizes("llama", 128_256, 3_072, 28, 24, 8, 128, 8_192, True),
    "llama-3.1-8b": Sizes("llama", 128_256, 4_096, 32, 32, 8, 128, 14_336, False),
    "qwen2.5-0.5b": Sizes("qwen2", 151_936, 896, 24, 14, 2, 64, 4_864, True),
    "qwen2.5-1.5b": Sizes("qwen2", 151_936, 1_536, 28, 12, 2, 128, 8_960, True),
    "qwen2.5-3b": Sizes("qwen2", 151_936, 2_048, 36, 16, 2, 128, 11_008, True),
    "qwen2.5-7b": Sizes("qwen2", 152_064, 3_584, 28, 28, 4, 128, 18_944, False),
    "qwen3-0.6b": Sizes("qwen3", 151_936, 1_024, 28, 16, 8, 128, 3_072, True),
    "qwen3-1.7b": Sizes("qwen3", 151_936, 2_048, 28, 16, 8, 128, 6_144, True),
    "qwen3-4b": Sizes("qwen3", 151_936, 2_560, 36, 32, 8, 128, 9_728, True),
    "qwen3-8b": Sizes("qwen3", 151_936, 4_096, 36, 32, 8, 128, 12_288, False),
    "gemma-2-2b": Sizes("gemma2", 256_000, 2_304, 26, 8, 4, 256, 9_216, True),
    "gemma-2-9b": Sizes("gemma2", 256_000, 3_584, 42, 16, 8, 256, 14_336, True),
    "gemma-3-270m": Sizes("gemma3_text", 262_144, 640, 18, 4, 1, 256, 2_048, True),
    "gemma-3-1b": Sizes("gemma3_text", 262_144, 1_152, 26, 4, 1, 256, 6_912, True),
}
HUB = {name: entry for name, entry in MODELS.items() if isinstance(entry, HubModel)}


def config(sizes: Sizes) -> dict[str, Any]:
    return {
        "model_type": sizes.family,
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.head_width,
        "intermediate_size": sizes.feed_forward,
        "tie_word_embeddings": sizes.tied,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 4_096,
    }


@pytest.mark.parametrize("name", SIZES)
def test_a_name_has_the_parameters_of_its_decoder(name: str) -> None:
    variants = [variant for variant in HUB if re.fullmatch(rf"{re.escape(name)}(-\w+)*", variant)]
    counts = {HUB[variant].parameters for variant in variants}
    _, shapes = weights._abstract(parse_config(config(SIZES[name])))
    assert counts == {sum(map(math.prod, shapes.values()))}


def test_every_name_is_of_a_known_size_and_every_family_has_one_but_mistral() -> None:
    assert all(any(name.startswith(size) for size in SIZES) for name in HUB)
    assert {sizes.family for sizes in SIZES.values()} == FAMILIES.keys() - {"mistral"}


def test_names_are_those_of_the_hub() -> None:
    for name, entry in HUB.items():
        assert name.removesuffix("-original") == entry.repository.split("/")[1].lower()
    assert len({entry.repository for entry in HUB.values()}) == len(HUB)


def test_the_publishers_of_gated_models() -> None:
    assert {entry.repository.split("/")[0] for entry in HUB.values() if entry.gated} == {"meta-llama", "google"}


def test_full_fine_tuning_holds_four_numbers_for_each_parameter() -> None:
    memory = memory_of(1_000)
    assert (memory.judge, memory.full) == (4_000, 16_000)
    assert memory.judge < memory.adapters < memory.full


def test_the_list_has_all_models_with_their_memory(candor: Candor) -> None:
    done = candor("models")
    head, *rows = done.out.splitlines()
    assert (done.status, done.err) == (0, "")
    assert head.split() == ["name", "from", "parameters", "licence", "gated", "judge", "lora", "full"]
    assert [row.split()[0] for row in rows] == [*MODELS]
    [llama] = [row.split() for row in rows if row.startswith("llama-3.1-8b ")]
    assert llama[1:] == ["meta-llama/Llama-3.1-8B", "8,030M", "llama3.1", "yes", "29.9", "31.4", "119.7"]
