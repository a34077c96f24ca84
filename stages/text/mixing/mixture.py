"""The training mixture, in training order: generated prompts and instruction data in an exact ratio.

Instruction data are the rows of instruction sets and lessons; each of these is a source. Without phases, all of their
rows are used equally often. With phases, which follow one another, each phase draws from the sources by its weights.
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
    """Settings of the mixture.

    `rows` is its length, `mix_ratio` the share of generated rows, `phases` where the other rows come from, and
    `validation` how many rows of each source to set aside at most.
    """

    seed: int
    mix_ratio: float
    rows: int
    phases: Sequence[Phase] = ()
    validation: int = 0


@dataclass(frozen=True)
class Mixed:
    """The training examples in training order, and validation rows of each source, which are not among them."""

    training: pl.DataFrame
    validation: pl.DataFrame


def mixture(prompts: pl.DataFrame, pairs: pl.DataFrame, lessons: pl.DataFrame, config: MixConfig) -> Mixed:
    """Training examples of which exactly the share `mix_ratio` is generated, in every prefix of them.

    Position i gets a generated row when floor((i + 1) * mix_ratio + 1/2) exceeds floor(i * mix_ratio + 1/2), so that
    any block of examples has this share to within one; the sources of a phase take turns just as exactly. Each source
    goes through all its rows (an epoch) before it repeats one, in a seeded order that differs from epoch to epoch. The
    rows about one text of a lesson stay together.

    First, `validation` rows, but at most a tenth, are set aside of each source that is used.

    Raises:
        UserError: a source has a share of the rows, but has no rows itself.
    """
    seed = config.seed
    is_generated = np.diff(np.floor(np.arange(config.rows + 1) * config.mix_ratio + 0.5)) > 0
    sources = np.where(is_generated, GENERATED, INSTRUCTION).astype(object)
    generated, generated_validation = _validation_split(_generated_rows(prompts), seed, config.validation)
    instruction, instruction_validation = _validation_split(_instruction_rows(pairs, lessons), seed, config.validation)
    rows_by_source = {GENERATED: generated, INSTRUCTION: instruction}
    if config.phases:
        sources[~is_generated] = _sources_by_weight(int((~is_generated).sum()), config.phases)
        rows_by_source |= {name: instruction.filter(pl.col("source") == name) for name in set(sources) - {GENERATED}}
    training = pl.concat(
        _rows_at(np.flatnonzero(sources == name), rows, seed, name) for name, rows in sorted(rows_by_source.items())
    ).sort("position")
    validation = pl.concat([generated_validation, instruction_validation])
    used = validation.filter(pl.col("source").is_in(training["source"].implode()))
    return Mixed(training, used.select(VALIDATION.names))


def _validation_split(rows: pl.DataFrame, seed: int, count: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Splits `rows` into training rows and, of each source, `count` validation rows, at most a tenth.

    The rows of a group stay on one side.
    """
    rank = pl.Series(draw(seed, "validation", rows["group"])[:, 0])
    ranked = rows.with_columns(rank=rank).sort("source", "rank", "row_id")
    numbered = ranked.with_columns(
        index=pl.int_range(pl.len(), dtype=pl.Int64).over("source"),
        limit=pl.min_horizontal(pl.lit(count), pl.len().over("source") // 10),
    ).with_columns(last_of_group=pl.col("index").max().over("source", "group"))
    validation = numbered.filter(pl.col("last_of_group") < pl.col("limit"))
    training = rows.join(validation.select("row_id"), on="row_id", how="anti", maintain_order="left")
    return training, validation.select(rows.columns)


def _sources_by_weight(rows: int, phases: Sequence[Phase]) -> NDArray[np.object_]:
    """The source of each of `rows` rows: within a phase, the source that is furthest behind its share comes next."""
    cumulative = np.cumsum([phase.share for phase in phases])
    # Divided by the last sum, so that the phases fill all rows even if their shares sum only nearly to 1.
    ends = np.round(cumulative / cumulative[-1] * rows).astype(int)
    sources: list[str] = []
    for end, phase in zip(ends, phases, strict=True):
        names = list(phase.weights)
        shares = np.array(list(phase.weights.values())) / sum(phase.weights.values())
        counts = np.zeros(len(names))
        for step in range(1, end - len(sources) + 1):
            next_source = int(np.argmax(shares * step - counts))
            counts[next_source] += 1
            sources.append(names[next_source])
    return np.array(sources, dtype=object)


def _rows_at(positions: NDArray[np.int64], rows: pl.DataFrame, seed: int, source: str) -> pl.DataFrame:
    """The rows of a source at its positions in the mixture, shuffled in each epoch."""
    if len(positions) and rows.is_empty():
        message = f"params.yaml: mix.phases gives {source} a weight, but it has no rows; add rows or drop the weight"
        raise UserError(_NO_ROWS.get(source, message))
    epochs = -(-len(positions) // max(rows.height, 1))
    shuffled = [_shuffled(rows, seed, source, epoch) for epoch in range(epochs)]
    selected = pl.concat([rows.clear().with_columns(epoch=pl.lit(0, pl.Int32)), *shuffled]).head(len(positions))
    kind = GENERATED if source == GENERATED else INSTRUCTION
    return selected.with_columns(position=pl.Series(positions, dtype=pl.Int64), kind=pl.lit(kind)).select(MIXTURE.names)


_NO_ROWS = {
    GENERATED: (
        "the filter kept no prompt, but mix_ratio asks for generated ones: this model judges no claim correctly in the "
        "way that filter.require demands; choose another model, filter.require=original_order, more prompts "
        "(prompt.count), or mix_ratio=0.0"
    ),
    INSTRUCTION: (
        "params.yaml: instructions and lessons are empty, but mix_ratio is below 1.0; list one of them or set "
        "mix_ratio=1.0"
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
    from_pairs = pairs.select(
        source="set",
        row_id="pair",
        group="pair",
        turns=templates.user_turn(pl.col("input")),
        answer_prefix=pl.lit(""),
        target=pl.format(" {}", "target"),
    )
    from_lessons = lessons.select("group", "turns", "answer_prefix", "target", source="lesson", row_id="row")
    return pl.concat([from_pairs, from_lessons.select(from_pairs.columns)])
