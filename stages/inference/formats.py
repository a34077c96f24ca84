"""Questions of the tables, put to a model in the format that they are for: the run's own, or the other one."""

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

# Suites that are asked in a format of their own; all others are asked in the run's.
FORMATS: Mapping[str, PromptFormat] = {"claims_plain": "plain", "claims_chat": "chat"}


def score_table_in_formats(
    scorer: Scorer, prompts: Prompts, folder: Path, prompt_format: PromptFormat, questions: pl.DataFrame
) -> pl.DataFrame:
    """What `chosen` gives of QUESTIONS with several choices, asked of the model folder that `scorer` was opened from.

    `prompts` are those of the run's `prompt_format`. Of the suites in FORMATS, that of the run's format is left out,
    since its claims are asked already; so is the other one where the model has no chat template that works.
    """
    suite = pl.col("suite")
    answers = [score_table(scorer, prompts, questions.filter(~suite.is_in(list(FORMATS))))]
    for name, its_format in FORMATS.items():
        asked = questions.filter(suite == name)
        if its_format != prompt_format and asked.height:
            its_prompts = _prompts_in(its_format, scorer, folder)
            answers += [score_table(scorer, its_prompts, asked)] if its_prompts else []
    return pl.concat(answers)


def _prompts_in(prompt_format: PromptFormat, scorer: Scorer, folder: Path) -> Prompts | None:
    model = LanguageModel(scorer.decoder, scorer.decoder.config, load_tokenizer(folder))
    try:
        return prompts_of(folder, model, prompt_format)
    except ModelError as error:
        # A run in plain text needs no template: what would be asked in one is left out, and this says why.
        if processes.is_first():
            print(f"nothing is asked in the chat format: {error}", file=sys.stderr)
        return None
