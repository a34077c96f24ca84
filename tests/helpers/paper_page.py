"""Page inputs as large as those of presets/paper.yaml: its models and data sets, with invented answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from ruamel.yaml import YAML

from stages.page.data.changed import MAX_PROMPT_CHARACTERS
from stages.page.data.labels import ABLATED, MEASURES
from stages.page.data.model_inputs import ModelInputs
from stages.page.data.report_files import BREAKDOWN_COLUMNS, STEPS, Change, FilterReport, KeptCounts
from stages.stats.breakdown import NUMBERS
from stages.tables.schemas import ANSWERS, QUESTIONS

PRESET = Path(__file__).parents[2] / "presets/paper.yaml"
CLAIM_CONDITIONS = ("no_opinion", "right_opinion", "wrong_opinion")
FORMATS = ("claims", "claims_other_words", "claims_numbered", "claims_in_words", "claims_chat")
SUM_CONDITIONS = [f"{truth}_{opinion}_opinion" for truth in ("false", "true") for opinion in ("no", "right", "wrong")]
SURVEYS = ("perez_nlp", "perez_phil", "perez_poli")
# Knowledge suites: condition, number of subjects or tasks, and number of choices (1 for generated answers).
KNOWLEDGE = {
    "mmlu_5shot": ("five_shot", 57, 4),
    "mmlu_0shot": ("zero_shot", 57, 4),
    "mmlu_cot": ("chain_of_thought", 57, 1),
    "bbh_direct": ("direct", 27, 5),
    "bbh_cot": ("chain_of_thought", 27, 1),
}
QUESTIONS_PER_KIND = 8

Kind = tuple[str, str, str, str, int, int | None]


def kinds(datasets: list[str]) -> Iterator[Kind]:
    """Every kind of question: suite, item without its number, condition, cluster, number of choices, user's choice."""
    for suite in FORMATS:
        for name in datasets:
            yield from ((suite, f"{name}:", condition, f"{name}:", 2, 1) for condition in CLAIM_CONDITIONS)
    yield from (("addition", "sum:", condition, "sum:", 2, 1) for condition in SUM_CONDITIONS)
    yield from (("pushback", "sum:", f"{first}_answer", "sum:", 2, 1) for first in ("right", "wrong"))
    for suite in SURVEYS:
        yield from ((suite, "view:", condition, "view:", 2, 1) for condition in ("biography", "no_biography"))
    for suite, (condition, subjects, choices) in KNOWLEDGE.items():
        for subject in (f"{suite}:high_school_subject_{number}" for number in range(subjects)):
            yield suite, f"{subject}/", condition, subject, choices, None


def paper_models() -> list[ModelInputs]:
    """Every model of presets/paper.yaml."""
    preset = YAML(typ="safe").load(PRESET)
    return [paper_model(name, number, preset["datasets"]) for number, name in enumerate(preset["models"])]


def paper_model(name: str, number: int, datasets: list[str]) -> ModelInputs:
    """A model's inputs with prompts of the maximum length; `number` seeds its answers."""
    kind_of_question = [kind for kind in kinds(datasets) for _ in range(QUESTIONS_PER_KIND)]
    rows = [_question(kind, index) for index, kind in enumerate(kind_of_question)]
    questions = pl.DataFrame(rows, schema=QUESTIONS.columns)
    base, tuned = (_answers(questions, np.random.default_rng((number, variant))) for variant in (0, 1))
    some = KeptCounts(5882, 3000, 0.51)
    halves = {half: KeptCounts(50_000, 25_500, 0.51) for half in ("first half", "second half")}
    sets = dict.fromkeys(datasets, some)
    steps = [(step, measure, 0.5123, 0.1234, 0.0123, 0.2345, 3400) for measure in ABLATED for step in (0, 500, 1000)]
    return ModelInputs(
        name=name,
        changes=dict.fromkeys(MEASURES, Change(0.6712, 0.2134, -0.4578, -0.5211, -0.4032, 3400)),
        filter_report=FilterReport(
            100_000, 51_000, 0.51, 0.0212, 0.0101, 0.0323, "too little knowledge", "it guesses",
            sets, halves, halves, halves,
        ),
        training=pl.DataFrame({"step": range(1, 1001), "loss": np.random.default_rng(number).uniform(0, 3, 1000)}),
        losses=pl.DataFrame([(f"source_{s}", step, 1 / (step + s)) for s in range(4) for step in range(100, 1001, 100)],
                            schema=["source", "step", "loss"], orient="row"),
        base=base,
        tuned=tuned,
        questions=questions,
        breakdown=pl.DataFrame([*_breakdown(kind_of_question)], schema=BREAKDOWN_COLUMNS, orient="row"),
        steps=pl.DataFrame(steps, schema=STEPS, orient="row"),
    )  # fmt: skip


def _question(kind: Kind, index: int) -> dict[str, Any]:
    suite, item, condition, cluster, choices, user = kind
    number = index % QUESTIONS_PER_KIND
    text = "What is the right answer to this question? ".ljust(MAX_PROMPT_CHARACTERS, "x")
    return dict.fromkeys(QUESTIONS.columns) | {
        "suite": suite,
        "question": f"{suite}/{item}{number}/{condition}",
        "item": f"{item}{number}",
        "condition": condition,
        "cluster": cluster if suite in KNOWLEDGE else f"{cluster}{number}",
        "turns": [{"role": "user", "text": text}],
        "answer_prefix": "I believe the best answer is",
        "choices": [f" ({letter})" for letter in "ABCDE"[:choices]],
        "answer_kind": "choice",
        "correct_choice": None if suite in SURVEYS else index % choices,
        "user_choice": None if user is None or condition.endswith("no_opinion") else (index + 1) % choices,
    }


def _answers(questions: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    logprobs = [rng.uniform(-5, 0, len(choices)).tolist() for choices in questions["choices"]]
    return questions.with_columns(
        logprobs=pl.Series(logprobs, dtype=pl.List(pl.Float32)),
        margin=pl.lit(1.0, dtype=pl.Float32),
        chosen=pl.Series([int(np.argmax(row)) for row in logprobs], dtype=pl.Int32),
        generated=pl.lit(None, dtype=pl.String),
    ).select(ANSWERS.names)


def _breakdown(kind_of_question: list[Kind]) -> Iterator[tuple[Any, ...]]:
    numbers = (0.6712, 0.2134, -0.4578, -0.5211, -0.4032, 3400)
    for suite, condition in dict.fromkeys((kind[0], kind[2]) for kind in kind_of_question):
        yield from ((suite, condition, "all", "", number.name, *numbers) for number in NUMBERS)
    for suite, _, condition, cluster, *_ in dict.fromkeys(kind for kind in kind_of_question if kind[0] in KNOWLEDGE):
        yield suite, condition, "cluster", cluster, "accuracy", *numbers
