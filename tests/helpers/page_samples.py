"""A small report page with invented numbers, for tests of its HTML and of its behaviour in a browser."""

import zlib
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import polars as pl

from stages.page.data.model_inputs import ModelInputs
from stages.page.data.report_files import (
    BREAKDOWN_COLUMNS,
    STEPS,
    Change,
    CleanReport,
    FilterReport,
    KeptCounts,
    Shortcut,
    SourceReport,
    Total,
    Validation,
)
from stages.page.page import Project, page
from stages.page.sections import answers_per_suite, model_section, overview, sweep_section
from stages.tables.schemas import ANSWERS, QUESTIONS, SWEEP_COLUMNS

MARKUP = "</section><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
COUNTS = CleanReport({"zoo": {"raw": 1200, "held_out": 3}, "sky": {"raw": 7}}, {"letters": {"raw": 5, "kept": 4}})
SOURCE = SourceReport(1200, None, 1, 2, 3, 4, 5, 6, 40, 1999, {"Old": 800, "New": 399}, {"quiz": 2, "sums": 1}, "MIT")
VALIDATION = Validation({"zoo": SOURCE}, Total(1200, 1_738_162, 1198, 1197, 1_736_834))
SHORTCUTS = {"polarity_and_label": Shortcut(1.0, 0.49), "order": Shortcut(0.5, None)}
PARAMS = {"seed": 0, "models": ["a", "b"], "own_models": {}, "hub": "", "finetune": {"lora": {"rank": 16}}}
KINDS = {"x": KeptCounts(10, 5, 0.5)}


def model(name: str, word: str = "zoo", verdict: str = "too little knowledge") -> ModelInputs:
    """A model's inputs in which every text is `word`: two claims in three conditions, and two sums."""
    rows = [_question("claims", f"{word}:{item}", condition) for item in "12" for condition in ("no", "right", "wrong")]
    rows += [_question("addition", f"{word}+{item}", "false_wrong") for item in "12"]
    questions = pl.DataFrame(
        [row | {"turns": [{"role": "user", "text": word}], "shared_prefix": "", "answer_prefix": word} for row in rows],
        schema=QUESTIONS.columns,
    )
    base, tuned = (
        questions.with_columns(
            logprobs=pl.lit(logprobs, dtype=pl.List(pl.Float32)),
            margin=pl.lit(abs(logprobs[0] - logprobs[1]), dtype=pl.Float32),
            chosen=pl.lit(chosen, dtype=pl.Int32),
            generated=pl.lit(None, dtype=pl.String),
        ).select(ANSWERS.names)
        for logprobs, chosen in (([-1.0, -3.0], 0), ([-2.5, -1.0], 1))
    )
    return ModelInputs(
        name=name,
        changes={"claims_wrong_opinion_followed": Change(0.67, 0.21, -0.46, -0.52, -0.4, 192)},
        filter_report=FilterReport(
            10, 5, 0.5, 0.0, -0.1, 0.1, verdict, word, {word: KeptCounts(10, 5, 0.5)}, KINDS, KINDS, KINDS
        ),
        training=pl.DataFrame({"step": [1, 2], "loss": [2.0, 1.0]}),
        losses=pl.DataFrame({"source": [word, word], "step": [1, 2], "loss": [2.0, 1.0]}),
        base=base,
        tuned=tuned,
        questions=questions,
        steps=pl.DataFrame([_step_row(step) for step in (0, 1, 2)], schema=STEPS),
        breakdown=pl.DataFrame([_breakdown(word, "all"), _breakdown(word, "cluster")], schema=BREAKDOWN_COLUMNS),
    )


def _step_row(step: int) -> dict[str, Any]:
    """A measure's value after a step."""
    numbers = {"value": 0.5 + step / 10, "delta": step / 10, "delta_low": step / 20, "delta_high": step / 5, "n": 8}
    return {"step": step, "measure": "claims_no_opinion_accuracy"} | numbers


def _breakdown(word: str, group: str) -> dict[str, Any]:
    shares = {"base": 0.5, "tuned": 0.75, "delta": 0.25, "delta_low": -0.1, "delta_high": 0.4, "n": 1200}
    return {"suite": word, "condition": word, "group": group, "value": word, "measure": "accuracy"} | shares


def _question(suite: str, item: str, condition: str) -> dict[str, Any]:
    """A question whose first choice is right; a user who is not right supports the second one."""
    user = None if condition == "no" else int(condition != "right")
    return dict.fromkeys(QUESTIONS.columns) | {
        "suite": suite,
        "question": f"{item}/{condition}",
        "item": item,
        "condition": f"{condition}_opinion",
        "cluster": item,
        "choices": [" (A)", " (B)"],
        "answer_kind": "choice",
        "correct_choice": 0,
        "user_choice": user,
    }


def swept(*settings: str, models: tuple[str, ...] = ("a",)) -> pl.DataFrame:
    """A sweep's table with three measures; the paper has a number for one of them."""
    numbers = (0.5, 0.75, 0.25, 0.125, 0.375, 96)
    measures = ("addition_wrong_opinion_accuracy", "claims_no_opinion_accuracy", "claims_log_odds_shift")
    rows = [(setting, model, name, *numbers) for setting in settings for model in models for name in measures]
    return pl.DataFrame(rows, schema=dict(SWEEP_COLUMNS), orient="row")


def unpacked(text: str) -> str:
    """The inverse of `interactive.packed`, as script.js does it."""
    return zlib.decompress(b64decode(text)).decode()


def html(*models: ModelInputs, counts: CleanReport = COUNTS, sweeps: Mapping[str, pl.DataFrame] | None = None) -> str:
    """The page of the models and sweeps, as stage `report` makes it."""
    sections = [model_section(inputs, answers_per_suite(len(models))) for inputs in models]
    all_models = overview({inputs.name: inputs.changes for inputs in models}) if len(models) > 1 else None
    project = Project(counts, VALIDATION, SHORTCUTS, PARAMS, {"Python": "3.11"})
    sweep_sections = [sweep_section(key, table) for key, table in (sweeps or {}).items()]
    return page(sections, all_models, sweep_sections, project)
