"""`candor score`: log-probabilities of the choices in any file of multiple-choice questions."""

import json
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import polars as pl
import typer

from stages.core.errors import UserError
from stages.core.files import atomic_file
from stages.core.progress import progress

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from stages.lm.tokens.trees import TokenTree


class Truncate(StrEnum):
    """The end of a too long prompt that is cut off."""

    left = "left"


def score(
    file: Annotated[Path, typer.Argument(help="A JSON lines file; each line has `prompt` and `choices`.")],
    model: Annotated[str, typer.Option(help="A registry name, a model folder or a .gguf file.")],
    out: Annotated[Path, typer.Option(help="The parquet table to write.")],
    truncate: Annotated[
        Truncate | None,
        typer.Option(help="left cuts the beginning of prompts that are too long for the model; refused otherwise."),
    ] = None,
) -> None:
    """Writes a table with the log-probability of every choice in FILE under MODEL.

    One row per line of FILE: row (from 0), logprobs (natural log, summed over a choice's tokens), best (index of the
    most probable choice, the first of equal ones), margin (to the second best; null with one choice) and tokens (number
    of tokens that the model reads).
    """
    questions = [_question(file, number, line) for number, line in _lines(file)]
    # Imported here, so that a mistake in the file is reported before JAX starts.
    from stages.core.errors import named
    from stages.inference.open import open_scorer
    from stages.lm.scoring.scorer import score_all
    from stages.zoo.resolve import model_folder

    with open_scorer(model_folder(model), "default", "plain") as (scorer, prompts):
        trees = []
        for number, (prompt, choices) in enumerate(questions, start=1):
            with named(f"{file}, line {number}"):
                trees.append(_tree(prompts.tokenizer, prompt, choices, scorer.decoder.config.max_positions, truncate))
        with progress(f"scoring with {model}", len(trees), "questions") as advance:
            logprobs = list(score_all(scorer, trees, advance))
    with atomic_file(out) as temporary:
        _table(logprobs, [len(tree.tokens) for tree in trees]).write_parquet(temporary)


def _tree(
    tokenizer: "Tokenizer", prompt: str, choices: list[str], window: int, truncate: Truncate | None
) -> "TokenTree":
    from stages.core.errors import QuestionError
    from stages.lm.tokens.continuation import leading_special_tokens
    from stages.lm.tokens.question_tree import encode_question
    from stages.lm.tokens.trees import drop_leading

    tree = encode_question(tokenizer, prompt, choices, sys.maxsize)
    excess = max(tree.positions) + 1 - window
    if excess <= 0:
        return tree
    if truncate is None:
        raise QuestionError(
            f"it has {window + excess} tokens, more than the model's window of {window}; shorten it, or let "
            "`--truncate left` cut the beginning of its prompt"
        )
    return drop_leading(tree, excess, leading_special_tokens(tokenizer, prompt))


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{file} does not exist") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 ({error}); save it as UTF-8") from None
    # In JSON lines only a line feed ends a line; texts may contain other line separators.
    yield from enumerate(text.removesuffix("\n").split("\n") if text else [], start=1)


def _question(file: Path, number: int, line: str) -> tuple[str, list[str]]:
    where = f"{file}, line {number}"
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error}); a line looks like {_EXAMPLE}") from None
    prompt, choices = (row.get("prompt"), row.get("choices")) if isinstance(row, dict) else (None, None)
    if not isinstance(prompt, str):
        raise UserError(f"{where}: `prompt` is {prompt!r}, expected text; a line looks like {_EXAMPLE}")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, str) for choice in choices):
        raise UserError(f"{where}: `choices` is {choices!r}, expected a list of texts; a line looks like {_EXAMPLE}")
    return prompt, choices


_EXAMPLE = '{"prompt": "1 + 1 =", "choices": [" 2", " 3"]}'


def _table(logprobs: list[np.ndarray], tokens: list[int]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "row": range(len(logprobs)),
            "logprobs": [values.tolist() for values in logprobs],
            "best": [int(np.argmax(values)) for values in logprobs],
            "margin": [
                float(np.subtract(*np.sort(values)[:-3:-1])) if len(values) > 1 else None for values in logprobs
            ],
            "tokens": tokens,
        },
        schema={
            "row": pl.Int64,
            "logprobs": pl.List(pl.Float32),
            "best": pl.Int32,
            "margin": pl.Float32,
            "tokens": pl.Int32,
        },
    )
