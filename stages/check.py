"""Stage `check`: refuses a bad params.yaml before DVC removes anyone's outputs."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from stages.core.errors import UserError, run
from stages.core.params import PARAMS, StageParams, read_document, read_params
from stages.datasets.registry import INSTRUCTIONS, LABELLED
from stages.params.base import BaseParams
from stages.params.clean import CleanParams
from stages.params.collect import CollectParams
from stages.params.curve import CurveParams
from stages.params.evaluate import EvaluateParams
from stages.params.filter import FilterParams
from stages.params.finetune import FinetuneParams
from stages.params.instruct import InstructParams
from stages.params.judge import JudgeParams
from stages.params.lesson import LessonParams
from stages.params.measure import MeasureParams
from stages.params.mix import MixParams
from stages.params.prompt import PromptParams
from stages.params.report import ReportParams
from stages.params.suite import SuiteParams
from stages.suites.registry import SUITES
from stages.text.mixing.lessons import LESSONS
from stages.zoo.registry import MODELS

KINDS: tuple[type[StageParams], ...] = (
    CollectParams,
    InstructParams,
    SuiteParams,
    CleanParams,
    LessonParams,
    PromptParams,
    BaseParams,
    JudgeParams,
    FilterParams,
    MixParams,
    FinetuneParams,
    EvaluateParams,
    MeasureParams,
    CurveParams,
    ReportParams,
)

# Shares that are written in decimals sum to 1 within this.
SHARES_SUM_TO = 1e-6


def main() -> None:
    """Reads every key of params.yaml and checks it alone and against the others."""
    _refuse_unknown_keys(read_document())
    problems = []
    for kind in KINDS:
        try:
            read_params(kind)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("; ".join(dict.fromkeys(problems)))
    problems = [*_unknown_names(), *_impossible_together()]
    if problems:
        raise UserError(f"{PARAMS}: " + "; ".join(problems))


def _refuse_unknown_keys(document: dict[str, Any]) -> None:
    known = {name.partition(".")[0] for kind in KINDS for name in (*kind.top_level, kind.section) if name}
    unknown = sorted(str(name) for name in document.keys() - known)
    if unknown:
        raise UserError(f"{PARAMS}: {', '.join(unknown)}: no such key; known are {', '.join(sorted(known))}")


def _unknown_names() -> Iterable[str]:
    lists, own = read_params(CleanParams), read_params(BaseParams).own_models
    yield from _not_in("datasets", lists.datasets, LABELLED)
    yield from _not_in("instructions", lists.instructions, INSTRUCTIONS)
    yield from _not_in("lessons", read_params(LessonParams).lessons, LESSONS)
    yield from _not_in("suites", lists.suites, SUITES)
    yield from _not_in("models", read_params(ReportParams).models, [*MODELS, *own])
    for name in own.keys() & MODELS.keys():
        yield f"own_models: {name} is a registry name already; choose another"


def _not_in(key: str, names: Sequence[str], known: Iterable[str]) -> Iterable[str]:
    known = list(known)
    for name in names:
        if name not in known:
            yield f"{key}: {name!r} is not known; known are {', '.join(known)}"
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield f"{key}: {name!r} is listed twice"


def _impossible_together() -> Iterable[str]:
    lists, mix, recipe = read_params(CleanParams), read_params(MixParams), read_params(FinetuneParams)
    prompt, hub = read_params(PromptParams), read_params(CollectParams).hub
    if hub and not Path(hub).is_dir():
        yield f'hub is {hub!r}, which is no folder; name one in the hub\'s layout, or "" for the hub itself'
    if prompt.fidelity == "reference" and prompt.claims != "paper":
        yield f"prompt.claims is {prompt.claims}, which prompt.fidelity: reference does not have; set it to paper"
    if not lists.datasets:
        yield "datasets is empty; list at least one"
    if not read_params(ReportParams).models:
        yield "models is empty; list at least one"
    if not lists.suites:
        yield "suites is empty; list at least one"
    sources = [*lists.instructions, *read_params(LessonParams).lessons]
    if not sources and mix.mix_ratio < 1.0:
        yield f"mix_ratio is {mix.mix_ratio} and asks for instruction data; list a set in instructions or set it to 1.0"
    for name in dict.fromkeys(name for part in mix.phases for name in part.weights if name not in sources):
        yield f"mix.phases: {name!r} is neither in instructions nor in lessons"
    if mix.phases and abs(sum(part.share for part in mix.phases) - 1.0) > SHARES_SUM_TO:
        yield f"mix.phases: the shares sum to {sum(part.share for part in mix.phases):g}, expected 1"
    for target in dict.fromkeys(name for name in recipe.lora.targets if recipe.lora.targets.count(name) > 1):
        yield f"finetune.lora.targets: {target!r} is listed twice"
    if recipe.batch_size % recipe.gradient_accumulation_steps:
        yield (
            f"finetune.gradient_accumulation_steps is {recipe.gradient_accumulation_steps}, which does not divide "
            f"finetune.batch_size ({recipe.batch_size})"
        )
    if late := [step for step in recipe.keep_steps if step > recipe.steps]:
        yield f"finetune.keep_steps holds {late[0]}, more than finetune.steps ({recipe.steps})"
    if recipe.warmup_steps > recipe.steps:
        yield f"finetune.warmup_steps is {recipe.warmup_steps}, more than finetune.steps ({recipe.steps})"


if __name__ == "__main__":
    run(main)
