"""The training examples in training order: generated prompts and instruction pairs in an exact share."""

import numpy as np
import polars as pl

from stages.project.errors import UserError
from stages.text import templates
from stages.text.draws import draw
from stages.text.tables import MIXTURE

GENERATED, INSTRUCTION = "generated", "instruction"


def mixture(prompts: pl.DataFrame, pairs: pl.DataFrame, seed: int, mix_ratio: float, rows: int) -> pl.DataFrame:
    """`rows` training examples, of which the share `mix_ratio` is generated, exactly, over every prefix.

    Position i is a generated one when floor((i + 1) * mix_ratio + 1/2) passes floor(i * mix_ratio + 1/2), so any block
    of examples holds the promised share to within one. Each kind goes through its own rows in a seeded order, without
    a repeat before all were used (an epoch); each epoch has an order of its own.

    Raises:
        UserError: a kind has a share of the rows but nothing to take them from.
    """
    steps = np.floor(np.arange(rows + 1) * mix_ratio + 0.5)
    is_generated = np.diff(steps) > 0
    positions = pl.DataFrame({"position": np.arange(rows, dtype=np.int64), "generated": is_generated})
    generated = positions.filter("generated").select("position")
    instruction = positions.filter(~pl.col("generated")).select("position")
    if generated.height and prompts.is_empty():
        raise UserError(
            "the filter kept no prompt, and mix_ratio asks for generated ones: this model judges none of the claims "
            "correctly as filter.require wants it; choose another model, filter.require=original_order, more prompts "
            "(prompt.count), or mix_ratio=0.0"
        )
    if instruction.height and pairs.is_empty():
        raise UserError(
            "params.yaml: instructions is empty, and mix_ratio below 1.0 asks for some; list a set or set 1.0"
        )
    parts = (
        _taken(generated, _generated_rows(prompts), seed, GENERATED),
        _taken(instruction, _instruction_rows(pairs), seed, INSTRUCTION),
    )
    return pl.concat(parts).sort("position").select(MIXTURE.names)


def _taken(positions: pl.DataFrame, rows: pl.DataFrame, seed: int, kind: str) -> pl.DataFrame:
    epochs = -(-positions.height // max(rows.height, 1))
    ordered = [_shuffled(rows, seed, kind, epoch) for epoch in range(epochs)]
    taken = pl.concat([rows.clear().with_columns(epoch=pl.lit(0, pl.Int32)), *ordered]).head(positions.height)
    return pl.concat([positions, taken.with_columns(kind=pl.lit(kind))], how="horizontal")


def _shuffled(rows: pl.DataFrame, seed: int, kind: str, epoch: int) -> pl.DataFrame:
    rank = draw(seed, f"mixture {kind} {epoch}", rows["row_id"])[:, 0]
    return rows.with_columns(rank=pl.Series(rank), epoch=pl.lit(epoch, pl.Int32)).sort("rank", "row_id").drop("rank")


def _generated_rows(prompts: pl.DataFrame) -> pl.DataFrame:
    return prompts.select(
        source="dataset",
        row_id="prompt",
        turns="turns",
        answer_prefix="answer_prefix",
        target=pl.col("choices").list.get(pl.col("correct")),
    )


def _instruction_rows(pairs: pl.DataFrame) -> pl.DataFrame:
    return pairs.select(
        source="set",
        row_id="pair",
        turns=templates.user_turn(pl.col("input")),
        answer_prefix=pl.lit(""),
        target=pl.format(" {}", "target"),
    )
