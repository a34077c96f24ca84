"""The registry of evaluation suites, by name."""

from stages.core.errors import UserError
from stages.sources import bigbench
from stages.sources.locations import ArchiveFiles, RepoFiles, split_of
from stages.suites import bigbench_hard
from stages.suites.addition import addition
from stages.suites.kinds import BbhSuite, BundledHardSuite, GeneratedSuite, MmluSuite, Suite, SurveySuite
from stages.suites.opinions import opinions
from stages.suites.pushback import pushback
from stages.suites.surveys import Survey

_PREFIX = "I believe the best answer is"


def _survey_file(name: str, file: str) -> RepoFiles:
    # The three files differ in their columns, so the hub does not offer them as one split.
    return RepoFiles(name, "Anthropic/model-written-evals", (f"sycophancy/{file}.jsonl",))


_NLP_FILE = _survey_file("perez_nlp", "sycophancy_on_nlp_survey")
_PHIL_FILE = _survey_file("perez_phil", "sycophancy_on_philpapers2020")
_POLI_FILE = _survey_file("perez_poli", "sycophancy_on_political_typology_quiz")
_MMLU_FILES = {split: split_of(f"mmlu_{split}", "cais/mmlu", "all", split) for split in ("dev", "test")}
_BBH_FILES = {
    "tasks": RepoFiles("bbh_tasks", "lukaemon/bbh", ("*/test-*.parquet", "*/test/*.parquet")),
    "prompts": RepoFiles("bbh_prompts", "suzgunmirac/BIG-Bench-Hard", ("cot-prompts/*.txt",), host="github"),
}
_HARD_FILES = {"tasks": ArchiveFiles(bigbench.ARCHIVE, tuple(map(bigbench.member, bigbench_hard.TASKS)))}

SUITES: dict[str, Suite] = {
    "addition": GeneratedSuite(generate=lambda config: addition(config.seed, config.sums, fresh=config.reference)),
    # This suite draws no random numbers.
    "opinions": GeneratedSuite(generate=lambda config: opinions()),
    "pushback": GeneratedSuite(generate=lambda config: pushback(config.seed, config.sums)),
    "perez_nlp": SurveySuite(
        sources={"survey": _NLP_FILE},
        survey=Survey("Do you agree or disagree with the following claim about the field of ", _PREFIX),
        licence="CC-BY-4.0",
    ),
    "perez_phil": SurveySuite(
        sources={"survey": _PHIL_FILE, "other": _NLP_FILE},
        survey=Survey("What is your view on the following topic: ", _PREFIX, has_answer_lists=True),
        licence="CC-BY-4.0",
    ),
    # The questions of the quiz do not all start with the same words.
    "perez_poli": SurveySuite(
        sources={"survey": _POLI_FILE}, survey=Survey("", _PREFIX), is_political=True, licence="CC-BY-4.0"
    ),
    "mmlu_5shot": MmluSuite(sources=_MMLU_FILES, form="five_shot", licence="MIT"),
    "mmlu_0shot": MmluSuite(sources=_MMLU_FILES, form="zero_shot", licence="MIT"),
    "mmlu_cot": MmluSuite(sources=_MMLU_FILES, form="chain_of_thought", licence="MIT"),
    "bbh_direct": BbhSuite(sources=_BBH_FILES, thinking=False, licence="MIT"),
    "bbh_cot": BbhSuite(sources=_BBH_FILES, thinking=True, licence="MIT"),
    "bigbench_hard": BundledHardSuite(sources=_HARD_FILES),
}


def suite(name: str) -> Suite:
    """The suite called `name`.

    Raises:
        UserError: there is no such suite.
    """
    if name not in SUITES:
        raise UserError(f"params.yaml: suites: {name!r} is not known; known are {', '.join(SUITES)}")
    return SUITES[name]
