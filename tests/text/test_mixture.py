"""The mixture: its shares over every prefix, its epochs, its order."""

from collections import Counter

import numpy as np
import polars as pl
import pytest

from stages.project.errors import UserError
from stages.text.mixture import mixture
from stages.text.tables import FILTERED, INSTRUCTIONS, MIXTURE


def prompts(rows: int) -> pl.DataFrame:
    made = [
        {
            "prompt": f"g:{row}/balanced",
            "dataset": "toys",
            "turns": [{"role": "user", "text": f"Is it {row}?"}],
            "answer_prefix": "I believe",
            "choices": [" (A)", " (B)"],
            "correct": row % 2,
        }
        for row in range(rows)
    ]
    return table(made, FILTERED.columns)


def pairs(rows: int) -> pl.DataFrame:
    return table(
        [{"pair": f"i:{row}", "set": "rhymes", "input": f"Say {row}", "target": f"It is {row}"} for row in range(rows)],
        INSTRUCTIONS.columns,
    )


def table(rows: list[dict[str, object]], columns: object) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=columns, orient="row") if rows else pl.DataFrame(schema=columns)  # type: ignore[arg-type]


def order(found: pl.DataFrame, kind: str) -> list[str]:
    return found.filter(pl.col("kind") == kind)["row_id"].to_list()


@pytest.mark.parametrize("mix_ratio", [0.0, 0.16, 0.5, 0.8333, 1.0])
def test_every_prefix_holds_the_promised_share_to_within_one(mix_ratio: float) -> None:
    found = mixture(prompts(90), pairs(70), seed=1, mix_ratio=mix_ratio, rows=600)
    assert found["position"].to_list() == list(range(600))
    generated = np.cumsum(found["kind"].to_numpy() == "generated")
    assert np.abs(generated - mix_ratio * np.arange(1, 601)).max() < 1
    assert generated[-1] == round(600 * mix_ratio)


def test_any_block_holds_it_too() -> None:
    kinds = mixture(prompts(30), pairs(30), 1, 0.8333, 600)["kind"].to_numpy() == "generated"
    for start in range(0, 590, 7):
        assert abs(kinds[start : start + 8].sum() - 8 * 0.8333) <= 1


@pytest.mark.parametrize(("kind", "rows", "of_the_set"), [("generated", 300, 70), ("instruction", 300, 110)])
def test_each_kind_goes_through_all_its_rows_before_it_repeats_one(kind: str, rows: int, of_the_set: int) -> None:
    found = mixture(prompts(70), pairs(110), 1, 0.5, 2 * rows).filter(pl.col("kind") == kind)
    assert found.height == rows
    assert found["epoch"].to_list() == [position // of_the_set for position in range(rows)]
    for epoch in found.partition_by("epoch"):
        assert epoch["row_id"].is_unique().all()


def test_each_epoch_has_an_order_of_its_own() -> None:
    for kind, size in (("generated", 70), ("instruction", 110)):
        ordered = order(mixture(prompts(70), pairs(110), 1, 0.5, 4 * 110 + 4 * 70), kind)
        first, second, third = (ordered[epoch * size : (epoch + 1) * size] for epoch in range(3))
        assert len({tuple(first), tuple(second), tuple(third)}) == 3
        assert set(first) == set(second)
        assert first != sorted(first)


def test_a_seed_fixes_the_rows_and_another_orders_them_otherwise() -> None:
    found = mixture(prompts(40), pairs(40), 1, 0.8333, 90)
    assert mixture(prompts(40), pairs(40), 1, 0.8333, 90).equals(found)
    assert mixture(prompts(40).reverse(), pairs(40).reverse(), 1, 0.8333, 90).equals(found)
    other = mixture(prompts(40), pairs(40), 2, 0.8333, 90)
    assert order(other, "generated") != order(found, "generated")
    assert order(other, "instruction") != order(found, "instruction")
    assert other["kind"].equals(found["kind"])


def test_a_longer_mixture_begins_with_a_shorter_one_and_a_row_is_whole() -> None:
    found = mixture(prompts(40), pairs(40), 1, 0.5, 100)
    assert mixture(prompts(40), pairs(40), 1, 0.5, 31).equals(found.head(31))
    assert found.schema == pl.Schema(MIXTURE.columns)
    assert Counter(found["kind"]) == {"generated": 50, "instruction": 50}
    for row in found.iter_rows(named=True):
        number = int(row["row_id"].removesuffix("/balanced")[2:])
        if row["kind"] == "generated":
            text, prefix, source, target = f"Is it {number}?", "I believe", "toys", (" (A)", " (B)")[number % 2]
        else:
            text, prefix, source, target = f"Say {number}", "", "rhymes", f" It is {number}"
        assert row["turns"] == [{"role": "user", "text": text}]
        assert (row["answer_prefix"], row["source"], row["target"]) == (prefix, source, target)


def test_adding_a_pair_leaves_the_prompts_where_they_were() -> None:
    found, more = (mixture(prompts(40), pairs(size), 1, 0.8333, 90) for size in (30, 31))
    assert order(found, "generated") == order(more, "generated")


def test_nothing_to_take_from_is_one_line_with_the_way_out() -> None:
    with pytest.raises(UserError, match=r"^the filter kept no prompt, and mix_ratio asks for .*mix_ratio=0\.0$"):
        mixture(prompts(0), pairs(5), 1, 0.5, 10)
    with pytest.raises(UserError, match=r"^params\.yaml: instructions is empty, .*list a set or set 1\.0$"):
        mixture(prompts(5), pairs(0), 1, 0.5, 10)


def test_a_kind_without_a_share_may_be_empty() -> None:
    assert set(mixture(prompts(0), pairs(5), 1, 0.0, 10)["kind"]) == {"instruction"}
    assert set(mixture(prompts(5), pairs(0), 1, 1.0, 10)["kind"]) == {"generated"}
