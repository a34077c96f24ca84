"""The training examples in training order: generated prompts and instruction data in an exact share.

Instruction data are the rows of instruction sets and lessons, each a source. Without phases, all of their rows count
alike; phases, one after another, take them by weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stages.core.errors import UserError
from stages.tables.schemas import GENERATED, INSTRUCTION, MIXTURE, VALIDATION
from stages.text.claims import templates
from stages.text.claims.draws import draw


@dataclass(frozen=True)
class Phase:
    """A stretch of the training: its share of the instruction rows, and the weight of each source in it."""

    share: float
    weights: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class MixConfig:
    """How many rows are mixed, the share of generated ones, and what the others and the validation rows come from."""

    seed: int
    mix_ratio: float
    rows: int
    phases: Sequence[Phase] = ()
    validation: int = 0


@dataclass(frozen=True)
class Mixed:
    """The training examples in training order, and for each source rows that are not among them."""

    training: pl.DataFrame
    validation: pl.DataFrame


def mixture(prompts: pl.DataFrame, pairs: pl.DataFrame, lessons: pl.DataFrame, config: MixConfig) -> Mixed:
    """Training examples, of which the share `mix_ratio` is generated, exactly, over every prefix of them.

    Position i is a generated one when floor((i + 1) * mix_ratio + 1/2) passes floor(i * mix_ratio + 1/2), so any block
    of examples holds the promised share to within one; the sources of a phase take turns as exactly. Each source goes
    through its own rows in a seeded order, without a repeat before all were used (an epoch); each epoch has an order of
    its own. The rows of a lesson's text stay together.

    Of each source that is used, `validation` rows, but at most a tenth, are set aside before.

    Raises:
        UserError: a source has a share of the rows but nothing to take them from.
    """
    seed = config.seed
    is_generated = np.diff(np.floor(np.arange(config.rows + 1) * config.mix_ratio + 0.5)) > 0
    sources = np.where(is_generated, GENERATED, INSTRUCTION).astype(object)
    generated, kept_generated = _validation_split(_generated_rows(prompts), seed, config.validation)
    instruction, kept_instruction = _validation_split(_instruction_rows(pairs, lessons), seed, config.validation)
    streams = {GENERATED: generated, INSTRUCTION: instruction}
    if config.phases:
        sources[~is_generated] = _taking_turns(int((~is_generated).sum()), config.phases)
        streams |= {name: instruction.filter(pl.col("source") == name) for name in set(sources) - {GENERATED}}
    taken = [_taken(np.flatnonzero(sources == name), stream, seed, name) for name, stream in sorted(streams.items())]
    training = pl.concat(taken).sort("position")
    aside = pl.concat([kept_generated, kept_instruction]).filter(pl.col("source").is_in(training["source"].implode()))
    return Mixed(training, aside.select(VALIDATION.names))


def _validation_split(rows: pl.DataFrame, seed: int, wanted: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What is left, and of each source `wanted` rows, at most a tenth, in whole groups."""
    rank = pl.Series(draw(seed, "validation", rows["group"])[:, 0])
    ranked = rows.with_columns(rank=rank).sort("source", "rank", "row_id")
    aside = ranked.with_columns(
        place=pl.int_range(pl.len(), dtype=pl.Int64).over("source"),
        most=pl.min_horizontal(pl.lit(wanted), pl.len().over("source") // 10),
    ).with_columns(last=pl.col("place").max().over("source", "group"))  # a group is taken whole or not at all
    chosen = aside.filter(pl.col("last") < pl.col("most"))
    left = rows.join(chosen.select("row_id"), on="row_id", how="anti", maintain_order="left")
    return left, chosen.select(rows.columns)


def _taking_turns(rows: int, phases: Sequence[Phase]) -> NDArray[np.object_]:
    """The source of each of `rows` rows: within a phase, the one that lags most behind its share comes next."""
    shares_until = np.cumsum([phase.share for phase in phases])
    # By the last sum, so that shares that sum to nearly 1 fill all rows.
    ends = np.round(shares_until / shares_until[-1] * rows).astype(int)
    chosen: list[str] = []
    for end, phase in zip(ends, phases, strict=True):
        names = list(phase.weights)
        shares = np.array(list(phase.weights.values())) / sum(phase.weights.values())
        counts = np.zeros(len(names))
        for taken in range(1, end - len(chosen) + 1):
            next_one = int(np.argmax(shares * taken - counts))
            counts[next_one] += 1
            chosen.append(names[next_one])
    return np.array(chosen, dtype=object)


def _taken(positions: NDArray[np.int64], rows: pl.DataFrame, seed: int, source: str) -> pl.DataFrame:
    if len(positions) and rows.is_empty():
        raise UserError(_NOTHING.get(source, f"params.yaml: mix.phases gives {source} a weight, but it has no rows"))
    epochs = -(-len(positions) // max(rows.height, 1))
    ordered = [_shuffled(rows, seed, source, epoch) for epoch in range(epochs)]
    taken = pl.concat([rows.clear().with_columns(epoch=pl.lit(0, pl.Int32)), *ordered]).head(len(positions))
    kind = GENERATED if source == GENERATED else INSTRUCTION
    return taken.with_columns(position=pl.Series(positions, dtype=pl.Int64), kind=pl.lit(kind)).select(MIXTURE.names)


_NOTHING = {
    GENERATED: (
        "the filter kept no prompt, and mix_ratio asks for generated ones: this model judges none of the claims "
        "correctly as filter.require wants it; choose another model, filter.require=original_order, more prompts "
        "(prompt.count), or mix_ratio=0.0"
    ),
    INSTRUCTION: (
        "params.yaml: instructions and lessons are empty, and mix_ratio below 1.0 asks for some; list one or set 1.0"
    ),
}


def _shuffled(rows: pl.DataFrame, seed: int, source: str, epoch: int) -> pl.DataFrame:
    rank = draw(seed, f"mixture {source} {epoch}", rows["group"])[:, 0]
    ranked = rows.with_columns(rank=pl.Series(rank), epoch=pl.lit(epoch, pl.Int32))
    return ranked.sort("rank", "row_id").drop("rank")


def _generated_rows(prompts: pl.DataFrame) -> pl.DataFrame:
    return prompts.select(
        source="dataset",
        row_id="prompt",
        group="prompt",
        turns="turns",
        answer_prefix="answer_prefix",
        target=pl.col("choices").list.get(pl.col("correct_choice")),
    )


def _instruction_rows(pairs: pl.DataFrame, lessons: pl.DataFrame) -> pl.DataFrame:
    of_sets = pairs.select(
        source="set",
        row_id="pair",
        group="pair",
        turns=templates.user_turn(pl.col("input")),
        answer_prefix=pl.lit(""),
        target=pl.format(" {}", "target"),
    )
    of_lessons = lessons.select("group", "turns", "answer_prefix", "target", source="lesson", row_id="row")
    return pl.concat([of_sets, of_lessons.select(of_sets.columns)])
