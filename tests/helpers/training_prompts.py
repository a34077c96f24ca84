"""Training prompts as one table."""

from typing import Any

import polars as pl

from stages.text.prompts import training


def training_prompts(*arguments: Any, **keywords: Any) -> pl.DataFrame:
    """All batches of `stages.text.prompts.training.training_prompts`."""
    return pl.concat(training.training_prompts(*arguments, **keywords))
