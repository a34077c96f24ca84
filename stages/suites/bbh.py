"""BIG-Bench Hard (Suzgun et al. 2022, arXiv 2210.09261): 27 tasks, each after three answered examples.

The authors' prompt files answer with a chain of thought that ends in `So the answer is …`; asked directly, the examples
answer with that alone. Asked directly, options, or the two answers that a task has, are to be chosen from; all else is
to be written.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from stages.core.errors import UserError
from stages.sources.hub_tables import read_rows
from stages.tables.schemas import CHOSEN, WRITTEN
from stages.text.claims.questions import THINKING, SuiteQuestion, question_table, sample_indices

TASK_COUNT = 27
SHOTS = 3

_EXAMPLE = re.compile(r"Q: (?P<question>.+?)\nA: (?P<thought>Let's think step by step\..+?)(?=\n\nQ: |\s*\Z)", re.S)
_ANSWER = re.compile(r"So the answer is (.+?)\.?", re.S)
_OPTION = re.compile(r"^(?:(\([A-Z]\)) |- )(.+?)\s*$", re.M)


@dataclass(frozen=True)
class TaskPrompt:
    """What a task is, and its answered examples: question, thought and answer."""

    task: str
    examples: tuple[tuple[str, str, str], ...]

    def text(self, thinking: bool) -> str:
        """The shared prefix of the task's questions."""
        said = (
            f"Human: {asked}\n\nAssistant: {thought if thinking else answer}"
            for asked, thought, answer in self.examples
        )
        return "\n\n".join((self.task, *said)) + "\n\n"


def bbh_questions(
    suite: str, tasks: Mapping[str, Path], prompts: Mapping[str, Path], thinking: bool, seed: int, count: int
) -> pl.DataFrame:
    """`count` questions a task (0: all), after three examples that answer directly or with a chain of thought.

    The rows of a task are a cluster.

    Raises:
        UserError: there are not 27 tasks with a prompt file each, or a file is damaged or of another form.
    """
    files = {path.partition("/")[0]: file for path, file in tasks.items()}
    shown = {Path(path).stem: file for path, file in prompts.items()}
    if len(files) != TASK_COUNT or files.keys() != shown.keys():
        raise UserError(
            f"{suite}: {len(files)} tasks and {len(shown)} prompts, expected {TASK_COUNT} of the same names"
        )
    return question_table(suite, _asked(suite, files, shown, thinking, seed, count))


def read_prompt(suite: str, file: Path) -> TaskPrompt:
    """The task and its three examples, from a file of the authors' folder cot-prompts."""
    _, _, text = file.read_text(encoding="utf-8").partition("-----\n")
    task, _, examples = text.partition("\n\n")
    found = [(match["question"], match["thought"]) for match in _EXAMPLE.finditer(examples)]
    answers = [_ANSWER.fullmatch(thought[max(thought.rfind("So the answer is"), 0) :].strip()) for _, thought in found]
    if len(found) != SHOTS or None in answers:
        raise UserError(f"{suite}: {file} holds no {SHOTS} examples that end in 'So the answer is …'; get it again")
    pairs = zip(found, answers, strict=True)
    return TaskPrompt(task, tuple((asked, thought.strip(), answer[1]) for (asked, thought), answer in pairs if answer))


def _asked(
    suite: str, files: Mapping[str, Path], prompts: Mapping[str, Path], thinking: bool, seed: int, count: int
) -> Iterator[SuiteQuestion]:
    for task, file in sorted(files.items()):
        rows = read_rows(f"{suite}, {task}", [file], {"input": pl.String, "target": pl.String}).to_dicts()
        prefix = read_prompt(suite, prompts[task]).text(thinking)
        answers = sorted({row["target"] for row in rows})
        for place in sample_indices(seed, f"bbh {task}", len(rows), count):
            asked, target = rows[place]["input"], rows[place]["target"]
            options = [] if thinking else _options(asked, target, answers)
            yield SuiteQuestion(
                f"{task}:{rows[place]['row']}",
                "chain_of_thought" if thinking else "direct",
                task,
                asked,
                [f" {option}" for option in options or [target]],
                correct_choice=options.index(target) if options else 0,
                answer_prefix=THINKING if thinking else "",
                shared_prefix=prefix,
                answer_kind=CHOSEN if options else WRITTEN,
            )


def _options(asked: str, target: str, answers: list[str]) -> list[str]:
    """The options that the question lists, or the two answers of its task; none where it has neither."""
    _, _, listed = asked.rpartition("\nOptions:\n")
    options = [match[1] or match[2] for match in _OPTION.finditer(listed)]
    if target in options:
        return options
    return answers if len(answers) == 2 else []
