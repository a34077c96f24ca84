"""Every row of the mixture and of the held-out questions can be traced to source, revision, split, row and licence."""

from typing import Any

import polars as pl

from stages.tables.schemas import EXAMPLES_RAW, HELD_OUT, INSTRUCTIONS, TRAIN
from stages.text.cleaning.rules import clean_examples
from stages.text.mixing.lessons import LessonConfig, lesson_rows
from stages.text.mixing.mixture import MixConfig, mixture
from stages.text.prompts.training import held_out_questions
from tests.helpers.training_prompts import training_prompts

PROVENANCE = ["source", "revision", "split", "row", "licence"]
NOTHING = pl.Series([], dtype=pl.String)


def raw() -> pl.DataFrame:
    rows: list[dict[str, Any]] = [
        {"example": f"toys:{row}", "dataset": "toys", "text": f'"toy {row:b}"', "label": row % 2}
        | {"label_words": ["Old", "New"], "cluster": f"toys:{row}", "source": "acme/toys", "revision": "abc"}
        | {"split": "train", "row": row, "licence": "MIT"}
        for row in range(40)
    ]
    return pl.DataFrame(rows, schema=EXAMPLES_RAW.columns)


def pairs() -> pl.DataFrame:
    rows: list[dict[str, Any]] = [
        {"pair": f"tips:{row}", "set": "tips", "input": f"tip {row:b}", "target": "do", "source": "acme/tips"}
        | {"revision": "def", "split": "train", "row": row, "licence": "CC0-1.0"}
        for row in range(20)
    ]
    return pl.DataFrame(rows, schema=INSTRUCTIONS.columns)


def provenance(names: pl.Series, table: pl.DataFrame, key: str) -> list[tuple[Any, ...]]:
    joined = names.to_frame(key).join(table, on=key, how="left", maintain_order="left").select(PROVENANCE)
    assert joined.null_count().sum_horizontal().item() == 0
    return joined.rows()


def test_a_mixture_s_rows_lead_back_to_the_sources() -> None:
    examples = clean_examples(raw(), NOTHING, 0.3, 100).table
    train = examples.filter(pl.col("part") == TRAIN)
    prompts = training_prompts(train, 1, "balanced", 40, 0)
    lessons = lesson_rows(("words",), train, LessonConfig(1, 40, 0.9))
    filtered = prompts.with_columns(
        logprobs=pl.lit([0.0]), logprobs_swapped=pl.lit([0.0]), margin=0.0, margin_swapped=0.0
    )
    both = mixture(filtered, pairs(), lessons, MixConfig(seed=1, mix_ratio=0.5, rows=60, validation=2))
    mixed = pl.concat([both.training.select("source", "row_id"), both.validation.select("source", "row_id")])

    generated = mixed.filter(pl.col("row_id").is_in(prompts["prompt"].implode())).rename({"row_id": "prompt"})
    examples_of = generated.join(prompts, on="prompt", how="left", maintain_order="left")["example"]
    assert set(provenance(examples_of, raw(), "example")) <= {
        ("acme/toys", "abc", "train", row, "MIT") for row in range(40)
    }

    instructed = mixed.filter(pl.col("source") == "tips")
    assert {row[0] for row in provenance(instructed["row_id"], pairs(), "pair")} == {"acme/tips"}

    taught = mixed.filter(pl.col("source") == "words")["row_id"].str.strip_prefix("words:").str.split("/").list.first()
    assert {row[0] for row in provenance(taught, raw(), "example")} == {"acme/toys"}
    assert generated.height + instructed.height + len(taught) == mixed.height


def test_a_held_out_claim_leads_back_to_its_source() -> None:
    examples = clean_examples(raw(), NOTHING, 0.3, 100).table
    claims = held_out_questions(examples.filter(pl.col("part") == HELD_OUT), 1, 8)
    assert {row[:3] for row in provenance(claims["item"], raw(), "example")} == {("acme/toys", "abc", "train")}
