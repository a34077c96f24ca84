"""Scores a table of questions in the right prompt format: the run's, or the one that a suite requires."""

import sys
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from stages.core.errors import ModelError
from stages.core.shared_types import PromptFormat
from stages.inference.tables import score_table
from stages.lm.distributed import processes
from stages.lm.io.load import LanguageModel
from stages.lm.io.tokenizer import load_tokenizer
from stages.lm.scoring.scorer import Scorer
from stages.lm.tokens.prompt_formats import Prompts, prompts_of

# Suites with their own prompt format; all others use the run's.
FORMATS: Mapping[str, PromptFormat] = {"claims_plain": "plain", "claims_chat": "chat"}


def score_table_in_formats(
    scorer: Scorer, prompts: Prompts, folder: Path, prompt_format: PromptFormat, questions: pl.DataFrame
) -> pl.DataFrame:
    """Scores QUESTIONS with several choices (see `score_table`) with the model that was opened from `folder`.

    `prompts` belongs to the run's `prompt_format`. The suite in FORMATS with that format is skipped, because its claims
    are already asked in it. The other one is skipped if it needs a chat template and the model has none that works.
    """
    suite = pl.col("suite")
    answers = [score_table(scorer, prompts, questions.filter(~suite.is_in(list(FORMATS))))]
    for name, suite_format in FORMATS.items():
        suite_questions = questions.filter(suite == name)
        if suite_format != prompt_format and suite_questions.height:
            suite_prompts = _prompts_or_none(suite_format, scorer, folder)
            answers += [score_table(scorer, suite_prompts, suite_questions)] if suite_prompts else []
    return pl.concat(answers)


def _prompts_or_none(prompt_format: PromptFormat, scorer: Scorer, folder: Path) -> Prompts | None:
    model = LanguageModel(scorer.decoder, scorer.decoder.config, load_tokenizer(folder))
    try:
        return prompts_of(folder, model, prompt_format)
    except ModelError as error:
        # A run in plain text needs no template, so this is not an error; the line says why questions are skipped.
        if processes.is_first():
            print(f"questions in the chat format are skipped: {error}", file=sys.stderr)
        return None
