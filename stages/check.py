"""Stage `check`: refuses an invalid params.yaml before DVC removes any stage's outputs."""

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

STAGE_PARAMS: tuple[type[StageParams], ...] = (
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

# The shares of mix.phases may differ from a sum of 1 by this much, because they are written in decimals.
SHARES_TOLERANCE = 1e-6


def main() -> None:
    """Checks every key of params.yaml by itself, and then the keys against each other."""
    _check_unknown_keys(read_document())
    problems = []
    for params in STAGE_PARAMS:
        try:
            read_params(params)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("; ".join(dict.fromkeys(problems)))
    problems = [*_unknown_names(), *_contradictions()]
    if problems:
        raise UserError(f"{PARAMS}: " + "; ".join(problems))


def _check_unknown_keys(document: dict[str, Any]) -> None:
    names = (name for params in STAGE_PARAMS for name in (*params.top_level, params.section) if name)
    known = {name.partition(".")[0] for name in names}
    unknown = sorted(str(name) for name in document.keys() - known)
    if unknown:
        raise UserError(f"{PARAMS}: {', '.join(unknown)}: no such key; known are {', '.join(sorted(known))}")


def _unknown_names() -> Iterable[str]:
    lists, own_models = read_params(CleanParams), read_params(BaseParams).own_models
    yield from _unknown_or_repeated("datasets", lists.datasets, LABELLED)
    yield from _unknown_or_repeated("instructions", lists.instructions, INSTRUCTIONS)
    yield from _unknown_or_repeated("lessons", read_params(LessonParams).lessons, LESSONS)
    yield from _unknown_or_repeated("suites", lists.suites, SUITES)
    yield from _unknown_or_repeated("models", read_params(ReportParams).models, [*MODELS, *own_models])
    for name in own_models.keys() & MODELS.keys():
        yield f"own_models: {name} is already a registry name; choose another"


def _unknown_or_repeated(key: str, names: Sequence[str], known: Iterable[str]) -> Iterable[str]:
    known = list(known)
    for name in names:
        if name not in known:
            yield f"{key}: {name!r} is not known; known are {', '.join(known)}"
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield f"{key}: {name!r} is listed twice"


def _contradictions() -> Iterable[str]:
    lists, mix, recipe = read_params(CleanParams), read_params(MixParams), read_params(FinetuneParams)
    prompt, hub = read_params(PromptParams), read_params(CollectParams).hub
    if hub and not Path(hub).is_dir():
        yield f'hub is {hub!r}, which is not a folder; name a folder with the hub\'s layout, or "" for the hub itself'
    if prompt.fidelity == "reference" and prompt.claims != "paper":
        yield f"prompt.claims is {prompt.claims}, which prompt.fidelity: reference does not support; set it to paper"
    if not lists.datasets:
        yield "datasets is empty; list at least one"
    if not read_params(ReportParams).models:
        yield "models is empty; list at least one"
    if not lists.suites:
        yield "suites is empty; list at least one"
    sources = [*lists.instructions, *read_params(LessonParams).lessons]
    if not sources and mix.mix_ratio < 1.0:
        yield f"mix_ratio is {mix.mix_ratio} and needs instruction data; list a set in instructions or set it to 1.0"
    for name in dict.fromkeys(name for phase in mix.phases for name in phase.weights if name not in sources):
        yield f"mix.phases: {name!r} is neither in instructions nor in lessons"
    if mix.phases and abs(sum(phase.share for phase in mix.phases) - 1.0) > SHARES_TOLERANCE:
        yield f"mix.phases: the shares sum to {sum(phase.share for phase in mix.phases):g}, expected 1"
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
