"""The registry of evaluation suites: each makes a table of questions, ready to ask, of the files that it names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from stages.core.errors import UserError
from stages.sources import bigbench
from stages.sources.locations import ArchiveFiles, RepoFiles, Source, split_of
from stages.suites import bigbench_hard
from stages.suites.addition import addition
from stages.suites.bbh import bbh_questions
from stages.suites.mmlu import MmluForm, mmlu_questions
from stages.suites.opinions import opinions
from stages.suites.pushback import pushback
from stages.suites.surveys import Survey, refuse_copy, survey_questions

# The local files of each of a suite's origins, by their path in it, in the order of the origins.
Files = tuple[Mapping[str, Path], ...]


@dataclass(frozen=True)
class SuiteConfig:
    """What suites are made by: the seed, the section `suite` of params.yaml, and whether as the reference does."""

    seed: int
    sums: int
    surveyed: int
    per_task: int
    political_prefix: str
    reference: bool


@dataclass(frozen=True)
class Suite:
    """An evaluation: where its files lie, how it is made of them, and the questions' licence (SPDX identifier).

    `version` rises with every change of its questions after which answers cannot be compared with those before.
    """

    make: Callable[[str, SuiteConfig, Files], pl.DataFrame]
    files: tuple[Source, ...] = ()
    licence: str = "Apache-2.0"
    version: int = 1


_PREFIX = "I believe the best answer is"
_NLP = Survey("Do you agree or disagree with the following claim about the field of ", _PREFIX)
_PHIL = Survey("What is your view on the following topic: ", _PREFIX, lists=True)


def _survey_file(name: str, file: str) -> RepoFiles:
    # The three files have other columns each, so no split of the hub holds them.
    return RepoFiles(name, "Anthropic/model-written-evals", (f"sycophancy/{file}.jsonl",))


def _nlp(name: str, plan: SuiteConfig, files: Files) -> pl.DataFrame:
    return survey_questions(name, _only(files[0]), _NLP, plan.seed, plan.surveyed)


def _phil(name: str, plan: SuiteConfig, files: Files) -> pl.DataFrame:
    refuse_copy(name, _only(files[0]), _only(files[1]))
    return survey_questions(name, _only(files[0]), _PHIL, plan.seed, plan.surveyed)


def _poli(name: str, plan: SuiteConfig, files: Files) -> pl.DataFrame:
    # The quiz has no words that all its questions begin with.
    return survey_questions(name, _only(files[0]), Survey("", plan.political_prefix), plan.seed, plan.surveyed)


def _only(files: Mapping[str, Path]) -> Path:
    (path,) = files.values()
    return path


def _mmlu(form: MmluForm) -> Callable[[str, SuiteConfig, Files], pl.DataFrame]:
    return lambda name, plan, files: mmlu_questions(name, files[0], files[1], form, plan.seed, plan.per_task)


def _bbh(thinking: bool) -> Callable[[str, SuiteConfig, Files], pl.DataFrame]:
    return lambda name, plan, files: bbh_questions(name, files[0], files[1], thinking, plan.seed, plan.per_task)


_NLP_FILE = _survey_file("perez_nlp", "sycophancy_on_nlp_survey")
_PHIL_FILE = _survey_file("perez_phil", "sycophancy_on_philpapers2020")
_POLI_FILE = _survey_file("perez_poli", "sycophancy_on_political_typology_quiz")
_MMLU_FILES = tuple(split_of(f"mmlu_{split}", "cais/mmlu", "all", split) for split in ("dev", "test"))
_BBH_FILES = (
    RepoFiles("bbh_tasks", "lukaemon/bbh", ("*/test-*.parquet", "*/test/*.parquet")),
    RepoFiles("bbh_prompts", "suzgunmirac/BIG-Bench-Hard", ("cot-prompts/*.txt",), at="github"),
)
_HARD_FILES = ArchiveFiles(bigbench.ARCHIVE, tuple(map(bigbench.member, bigbench_hard.TASKS)))

SUITES: dict[str, Suite] = {
    "addition": Suite(lambda name, plan, files: addition(plan.seed, plan.sums, fresh=plan.reference)),
    # Nothing in it is drawn.
    "opinions": Suite(lambda name, plan, files: opinions()),
    "pushback": Suite(lambda name, plan, files: pushback(plan.seed, plan.sums)),
    "perez_nlp": Suite(_nlp, (_NLP_FILE,), "CC-BY-4.0"),
    "perez_phil": Suite(_phil, (_PHIL_FILE, _NLP_FILE), "CC-BY-4.0"),
    "perez_poli": Suite(_poli, (_POLI_FILE,), "CC-BY-4.0"),
    "mmlu_5shot": Suite(_mmlu("five_shot"), _MMLU_FILES, "MIT"),
    "mmlu_0shot": Suite(_mmlu("zero_shot"), _MMLU_FILES, "MIT"),
    "mmlu_cot": Suite(_mmlu("chain_of_thought"), _MMLU_FILES, "MIT"),
    "bbh_direct": Suite(_bbh(thinking=False), _BBH_FILES, "MIT"),
    "bbh_cot": Suite(_bbh(thinking=True), _BBH_FILES, "MIT"),
    "bigbench_hard": Suite(
        lambda name, plan, files: bigbench_hard.hard_questions(name, files[0], plan.seed, plan.per_task), (_HARD_FILES,)
    ),
}


def suite(name: str) -> Suite:
    """The suite `name`."""
    if name not in SUITES:
        raise UserError(f"params.yaml: suites: {name!r} is not known; known are {', '.join(SUITES)}")
    return SUITES[name]
