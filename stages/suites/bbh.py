"""BIG-Bench Hard (Suzgun et al. 2022, arXiv 2210.09261): 27 tasks with three few-shot examples each.

The examples in the authors' prompt files answer with a chain of thought that ends in `So the answer is …`. In the
direct form, they give only the answer, and the model chooses between the options that a question lists, or between the
two answers that occur in its task; it writes its answer to all other questions, and to all with a chain of thought.
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
    """The description of a task, and its few-shot examples: question, thought and answer."""

    task: str
    examples: tuple[tuple[str, str, str], ...]

    def text(self, thinking: bool) -> str:
        """The shared prefix of the task's questions, with or without the thoughts."""
        examples = (
            f"Human: {question}\n\nAssistant: {thought if thinking else answer}"
            for question, thought, answer in self.examples
        )
        return "\n\n".join((self.task, *examples)) + "\n\n"


def bbh_questions(
    suite: str, tasks: Mapping[str, Path], prompts: Mapping[str, Path], thinking: bool, seed: int, count: int
) -> pl.DataFrame:
    """`count` questions of each task (0: all), after three examples that answer directly or with a chain of thought.

    The rows of a task are a cluster.

    Raises:
        UserError: there are not 27 tasks with a prompt file each, or a file is damaged or has another form.
    """
    task_files = {path.partition("/")[0]: file for path, file in tasks.items()}
    prompt_files = {Path(path).stem: file for path, file in prompts.items()}
    if len(task_files) != TASK_COUNT or task_files.keys() != prompt_files.keys():
        raise UserError(
            f"{suite}: there are {len(task_files)} tasks and {len(prompt_files)} prompts, expected {TASK_COUNT} each "
            "with the same names"
        )
    return question_table(suite, _questions(suite, task_files, prompt_files, thinking, seed, count))


def read_prompt(suite: str, file: Path) -> TaskPrompt:
    """Reads the task and its three examples from a file of the authors' folder cot-prompts.

    Raises:
        UserError: the file does not have three examples of that form.
    """
    _, _, text = file.read_text(encoding="utf-8").partition("-----\n")
    task, _, examples = text.partition("\n\n")
    pairs = [(match["question"], match["thought"]) for match in _EXAMPLE.finditer(examples)]
    answers = [_ANSWER.fullmatch(thought[max(thought.rfind("So the answer is"), 0) :].strip()) for _, thought in pairs]
    if len(pairs) != SHOTS or None in answers:
        raise UserError(
            f"{suite}: {file} must have {SHOTS} examples that end in 'So the answer is …'; get the file again"
        )
    shots = zip(pairs, answers, strict=True)
    return TaskPrompt(
        task, tuple((question, thought.strip(), answer[1]) for (question, thought), answer in shots if answer)
    )


def _questions(
    suite: str, files: Mapping[str, Path], prompts: Mapping[str, Path], thinking: bool, seed: int, count: int
) -> Iterator[SuiteQuestion]:
    for task, file in sorted(files.items()):
        rows = read_rows(f"{suite}, {task}", [file], {"input": pl.String, "target": pl.String}).to_dicts()
        prefix = read_prompt(suite, prompts[task]).text(thinking)
        answers = sorted({row["target"] for row in rows})
        for index in sample_indices(seed, f"bbh {task}", len(rows), count):
            question, target = rows[index]["input"], rows[index]["target"]
            options = [] if thinking else _options(question, target, answers)
            yield SuiteQuestion(
                f"{task}:{rows[index]['row']}",
                "chain_of_thought" if thinking else "direct",
                task,
                question,
                [f" {option}" for option in options or [target]],
                correct_choice=options.index(target) if options else 0,
                answer_prefix=THINKING if thinking else "",
                shared_prefix=prefix,
                answer_kind=CHOSEN if options else WRITTEN,
            )


def _options(question: str, target: str, answers: list[str]) -> list[str]:
    """The options that the question lists, or the answers of its task if there are two; otherwise none."""
    _, _, option_lines = question.rpartition("\nOptions:\n")
    options = [match[1] or match[2] for match in _OPTION.finditer(option_lines)]
    if target in options:
        return options
    return answers if len(answers) == 2 else []
