"""Training prompts as one table."""

from typing import Any

import polars as pl

from stages.text import prompts


def training_prompts(*arguments: Any, **knobs: Any) -> pl.DataFrame:
    """All parts of `stages.text.prompts.training_prompts`."""
    return pl.concat(prompts.training_prompts(*arguments, **knobs))
