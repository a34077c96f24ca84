"""The kinds of evaluation suites: which files each needs, by name, and how it turns them into questions."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from stages.sources.locations import Source
from stages.suites.bbh import bbh_questions
from stages.suites.bigbench_hard import hard_questions
from stages.suites.mmlu import MmluForm, mmlu_questions
from stages.suites.surveys import Survey, refuse_copy, survey_questions

# The local files of a suite: by the name of their source in `Suite.sources`, then by their path in that source.
Files = Mapping[str, Mapping[str, Path]]


@dataclass(frozen=True)
class SuiteConfig:
    """Settings of all suites: the seed, the section `suite` of params.yaml, and whether to follow the reference."""

    seed: int
    sums: int
    surveyed: int
    per_task: int
    political_prefix: str
    reference: bool


@dataclass(frozen=True, kw_only=True)
class Suite(ABC):
    """An evaluation: its sources, the licence of its questions (an SPDX identifier), and its questions.

    `version` increases whenever its questions change so much that new answers cannot be compared with old ones.
    """

    sources: Mapping[str, Source] = field(default_factory=dict)
    licence: str = "Apache-2.0"
    version: int = 1

    @abstractmethod
    def questions(self, name: str, config: SuiteConfig, files: Files) -> pl.DataFrame:
        """The QUESTIONS table of the suite `name`, made from its local files."""


@dataclass(frozen=True, kw_only=True)
class GeneratedSuite(Suite):
    """A suite that needs no files."""

    generate: Callable[[SuiteConfig], pl.DataFrame]

    def questions(self, name: str, config: SuiteConfig, files: Files) -> pl.DataFrame:
        """The generated questions."""
        return self.generate(config)


@dataclass(frozen=True, kw_only=True)
class SurveySuite(Suite):
    """A survey of Perez et al. 2022: the source `survey` and, if the survey must not be a copy of it, `other`.

    The answer prefix of the political quiz is a param.
    """

    survey: Survey
    is_political: bool = False

    def questions(self, name: str, config: SuiteConfig, files: Files) -> pl.DataFrame:
        """Each question with and without the biography."""
        (file,) = files["survey"].values()
        if "other" in files:
            (other_file,) = files["other"].values()
            refuse_copy(name, file, other_file)
        survey = replace(self.survey, answer_prefix=config.political_prefix) if self.is_political else self.survey
        return survey_questions(name, file, survey, config.seed, config.surveyed)


@dataclass(frozen=True, kw_only=True)
class MmluSuite(Suite):
    """MMLU in one form: the sources `dev`, for few-shot examples, and `test`."""

    form: MmluForm

    def questions(self, name: str, config: SuiteConfig, files: Files) -> pl.DataFrame:
        """Questions of each subject."""
        return mmlu_questions(name, files["dev"], files["test"], self.form, config.seed, config.per_task)


@dataclass(frozen=True, kw_only=True)
class BbhSuite(Suite):
    """BIG-Bench Hard, direct or with a chain of thought: the sources `tasks` and `prompts`."""

    thinking: bool

    def questions(self, name: str, config: SuiteConfig, files: Files) -> pl.DataFrame:
        """Questions of each task."""
        return bbh_questions(name, files["tasks"], files["prompts"], self.thinking, config.seed, config.per_task)


@dataclass(frozen=True, kw_only=True)
class BundledHardSuite(Suite):
    """The tasks of BIG-Bench Hard that are in BIG-bench's archive: the source `tasks`."""

    def questions(self, name: str, config: SuiteConfig, files: Files) -> pl.DataFrame:
        """Questions of each task."""
        return hard_questions(name, files["tasks"], config.seed, config.per_task)
