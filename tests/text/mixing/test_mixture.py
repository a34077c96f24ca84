"""The mixture: its shares over every prefix, its epochs, its order."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from stages.core.errors import UserError
from stages.tables.schemas import FILTERED, INSTRUCTIONS, LESSONS, MIXTURE
from stages.text.mixing import mixture as module
from stages.text.mixing.mixture import MixConfig, Phase


def prompts(rows: int) -> pl.DataFrame:
    prompt_rows: list[dict[str, object]] = [
        {
            "prompt": f"g:{row}/balanced",
            "dataset": "toys",
            "turns": [{"role": "user", "text": f"Is it {row}?"}],
            "answer_prefix": "I believe",
            "choices": [" (A)", " (B)"],
            "correct_choice": row % 2,
        }
        for row in range(rows)
    ]
    return table(prompt_rows, FILTERED.columns)


def pairs(rows: int) -> pl.DataFrame:
    return table(
        [{"pair": f"i:{row}", "set": "rhymes", "input": f"Say {row}", "target": f"It is {row}"} for row in range(rows)],
        INSTRUCTIONS.columns,
    )


def lessons(**groups: int) -> pl.DataFrame:
    """The given number of groups of each lesson, with two rows each."""
    lesson_rows: list[dict[str, object]] = [
        {
            "row": f"{name}:{group}/{row}",
            "lesson": name,
            "group": f"{name}:{group}",
            "turns": [{"role": "user", "text": f"{name} {group} {row}"}],
            "answer_prefix": "I",
            "target": f" {row}",
        }
        for name, count in groups.items()
        for group in range(count)
        for row in range(2)
    ]
    return table(lesson_rows, LESSONS.columns)


def mixture(
    prompts: pl.DataFrame,
    pairs: pl.DataFrame,
    seed: int,
    mix_ratio: float,
    rows: int,
    lesson_rows: pl.DataFrame | None = None,
    phases: Sequence[Phase] = (),
) -> pl.DataFrame:
    config = MixConfig(seed=seed, mix_ratio=mix_ratio, rows=rows, phases=phases)
    return module.mixture(prompts, pairs, lessons() if lesson_rows is None else lesson_rows, config).training


def table(rows: list[dict[str, object]], columns: object) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=columns, orient="row") if rows else pl.DataFrame(schema=columns)  # type: ignore[arg-type]


def order(result: pl.DataFrame, kind: str) -> list[str]:
    return result.filter(pl.col("kind") == kind)["row_id"].to_list()


@pytest.mark.parametrize("mix_ratio", [0.0, 0.16, 0.5, 0.8333, 1.0])
def test_every_prefix_holds_the_promised_share_to_within_one(mix_ratio: float) -> None:
    result = mixture(prompts(90), pairs(70), seed=1, mix_ratio=mix_ratio, rows=600)
    assert result["position"].to_list() == list(range(600))
    generated = np.cumsum(result["kind"].to_numpy() == "generated")
    assert np.abs(generated - mix_ratio * np.arange(1, 601)).max() < 1
    assert generated[-1] == round(600 * mix_ratio)


def test_any_block_holds_it_too() -> None:
    kinds = mixture(prompts(30), pairs(30), 1, 0.8333, 600)["kind"].to_numpy() == "generated"
    for start in range(0, 590, 7):
        assert abs(kinds[start : start + 8].sum() - 8 * 0.8333) <= 1


@pytest.mark.parametrize(("kind", "rows", "of_the_set"), [("generated", 300, 70), ("instruction", 300, 110)])
def test_each_kind_goes_through_all_its_rows_before_it_repeats_one(kind: str, rows: int, of_the_set: int) -> None:
    result = mixture(prompts(70), pairs(110), 1, 0.5, 2 * rows).filter(pl.col("kind") == kind)
    assert result.height == rows
    assert result["epoch"].to_list() == [position // of_the_set for position in range(rows)]
    for epoch in result.partition_by("epoch"):
        assert epoch["row_id"].is_unique().all()


def test_each_epoch_has_an_order_of_its_own() -> None:
    for kind, size in (("generated", 70), ("instruction", 110)):
        ordered = order(mixture(prompts(70), pairs(110), 1, 0.5, 4 * 110 + 4 * 70), kind)
        first, second, third = (ordered[epoch * size : (epoch + 1) * size] for epoch in range(3))
        assert len({tuple(first), tuple(second), tuple(third)}) == 3
        assert set(first) == set(second)
        assert first != sorted(first)


def test_a_seed_fixes_the_rows_and_another_orders_them_otherwise() -> None:
    result = mixture(prompts(40), pairs(40), 1, 0.8333, 90)
    assert mixture(prompts(40), pairs(40), 1, 0.8333, 90).equals(result)
    assert mixture(prompts(40).reverse(), pairs(40).reverse(), 1, 0.8333, 90).equals(result)
    other = mixture(prompts(40), pairs(40), 2, 0.8333, 90)
    assert order(other, "generated") != order(result, "generated")
    assert order(other, "instruction") != order(result, "instruction")
    assert other["kind"].equals(result["kind"])


def test_a_longer_mixture_begins_with_a_shorter_one_and_a_row_is_whole() -> None:
    result = mixture(prompts(40), pairs(40), 1, 0.5, 100)
    assert mixture(prompts(40), pairs(40), 1, 0.5, 31).equals(result.head(31))
    assert result.schema == pl.Schema(MIXTURE.columns)
    assert Counter(result["kind"]) == {"generated": 50, "instruction": 50}
    for row in result.iter_rows(named=True):
        number = int(row["row_id"].removesuffix("/balanced")[2:])
        if row["kind"] == "generated":
            text, prefix, source, target = f"Is it {number}?", "I believe", "toys", (" (A)", " (B)")[number % 2]
        else:
            text, prefix, source, target = f"Say {number}", "", "rhymes", f" It is {number}"
        assert row["turns"] == [{"role": "user", "text": text}]
        assert (row["answer_prefix"], row["source"], row["target"]) == (prefix, source, target)


def test_adding_a_pair_leaves_the_prompts_where_they_were() -> None:
    result, more = (mixture(prompts(40), pairs(size), 1, 0.8333, 90) for size in (30, 31))
    assert order(result, "generated") == order(more, "generated")


def test_nothing_to_take_from_is_one_line_with_the_way_out() -> None:
    with pytest.raises(UserError, match=r"^the filter kept no prompt, but mix_ratio asks for .*mix_ratio=0\.0$"):
        mixture(prompts(0), pairs(5), 1, 0.5, 10)
    with pytest.raises(UserError, match=r"^params\.yaml: instructions and lessons are empty, .*set mix_ratio=1\.0$"):
        mixture(prompts(5), pairs(0), 1, 0.5, 10)


def test_a_kind_without_a_share_may_be_empty() -> None:
    assert set(mixture(prompts(0), pairs(5), 1, 0.0, 10)["kind"]) == {"instruction"}
    assert set(mixture(prompts(5), pairs(0), 1, 1.0, 10)["kind"]) == {"generated"}


# ---- lessons and phases


def sources(result: pl.DataFrame, start: int = 0, end: int | None = None) -> Counter[str]:
    return Counter(result["source"][start:end])


def test_without_phases_lessons_are_rows_among_the_others() -> None:
    result = mixture(prompts(0), pairs(30), 1, 0.0, 70, lessons(words=20))
    assert sources(result) == {"rhymes": 30, "words": 40}
    assert sources(result, end=35)["words"] > 5


def test_the_rows_of_a_group_stay_together() -> None:
    result = mixture(prompts(0), pairs(0), 1, 0.0, 80, lessons(words=20))
    ids = result["row_id"].to_list()
    for first, second in zip(ids[::2], ids[1::2], strict=True):
        assert (first.removesuffix("/0"), second) == (first.split("/")[0], first.replace("/0", "/1"))
    assert ids[:40] != ids[40:] and sorted(ids[:40]) == sorted(ids[40:])


def test_phases_follow_one_another_and_sources_take_turns_by_weight() -> None:
    phases = [Phase(0.25, {"words": 1}), Phase(0.75, {"words": 1, "rhymes": 3, "sums": 2})]
    result = mixture(prompts(0), pairs(200), 1, 0.0, 400, lessons(words=200, sums=200, naming=5), phases)
    assert sources(result, end=100) == {"words": 100}
    assert sources(result, start=100) == {"words": 50, "rhymes": 150, "sums": 100}
    for start in range(100, 400, 60):
        assert sources(result, start, start + 60) == {"words": 10, "rhymes": 30, "sums": 20}
    assert result.filter(pl.col("source") == "words")["row_id"].is_unique().all(), "a source continues where it stopped"


def test_phases_fill_all_rows_when_their_shares_are_written_too_small() -> None:
    phases = [Phase(0.3, {"words": 1}), Phase(0.3, {"sums": 1}), Phase(0.3, {"words": 1})]
    result = mixture(prompts(0), pairs(0), 1, 0.0, 90, lessons(words=2, sums=2), phases)
    assert sources(result) == {"words": 60, "sums": 30}


def test_phases_leave_the_generated_share_alone() -> None:
    result = mixture(prompts(40), pairs(40), 1, 0.5, 80, lessons(words=40), [Phase(1.0, {"words": 1})])
    assert Counter(result["kind"]) == {"generated": 40, "instruction": 40}
    assert sources(result) == {"toys": 40, "words": 40}


def test_a_weight_without_rows_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^params\.yaml: mix\.phases gives sums a weight, but it has no rows; "):
        mixture(prompts(0), pairs(5), 1, 0.0, 10, lessons(words=5), [Phase(1.0, {"sums": 1, "words": 1})])


# ---- rows set validation


def test_rows_of_each_source_are_set_aside_and_not_trained_on() -> None:
    mixed = module.mixture(
        prompts(100), pairs(40), lessons(words=60), MixConfig(seed=1, mix_ratio=0.5, rows=400, validation=6)
    )
    validation = mixed.validation
    assert Counter(validation["source"]) == {"toys": 6, "rhymes": 4, "words": 6}, "a tenth at most"
    assert not set(validation["row_id"]) & set(mixed.training["row_id"])
    assert mixed.training["row_id"].n_unique() == 100 + 40 + 120 - 16
    words = [name.split("/")[0] for name in validation.filter(pl.col("source") == "words")["row_id"]]
    assert Counter(words) == dict.fromkeys(words, 2), "groups are whole"


def test_nothing_is_set_aside_of_a_source_that_is_not_used() -> None:
    mixed = module.mixture(
        prompts(100),
        pairs(40),
        lessons(words=60),
        MixConfig(seed=1, mix_ratio=0.0, rows=40, phases=[Phase(1.0, {"words": 1})], validation=6),
    )
    assert set(mixed.validation["source"]) == {"words"}
    assert module.mixture(
        prompts(100), pairs(40), lessons(), MixConfig(seed=1, mix_ratio=1.0, rows=40, validation=0)
    ).validation.is_empty()
