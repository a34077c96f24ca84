"""`candor plan`: what judging and fine-tuning would take on accelerators that are not here."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stages.core.errors import UserError
from stages.core.params import PARAMS, read_params
from stages.core.progress import progress
from stages.core.shared_types import GIB
from stages.params.finetune import FinetuneParams
from stages.params.judge import JudgeParams

if TYPE_CHECKING:
    from stages.lm.planning.chips import Topology
    from stages.lm.planning.programs import Recipe
    from stages.lm.planning.search import MeshPlan, StepPlan

HEADER = (
    "CANDOR_TENSOR_PARALLEL", "fits", "GiB", "TFLOP", "GB moved", "GB sent", "arithmetic", "memory", "links",
    "roofline", "compiler", "expected",
)  # fmt: skip


def plan(
    model: Annotated[
        str, typer.Option(help="dense-8b, dense-62b, dense-540b, a registry name, a model folder or a .gguf file.")
    ],
    topology: Annotated[str, typer.Option(help="v4:4x4x4, v5e:4x4, v6e:4x4, v5p:2x2x2, h100:8, a100:8, …")],
    params: Annotated[Path, typer.Option(help="The file whose recipe is planned.")] = PARAMS,
    tensor: Annotated[
        list[int] | None,
        typer.Option(help="Values of CANDOR_TENSOR_PARALLEL to try, one an option; without any 1, 4 and 16."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Compiles the steps of judging and fine-tuning for TOPOLOGY, which need not be here, and says what they take.

    Neither weights nor the accelerator are needed; TPUs need libtpu (`make setup EXTRAS=tpu`). Programs for GPUs are
    compiled for simulated devices, and their time is reckoned from the counts.
    """
    knobs, asking = read_params(FinetuneParams, params), read_params(JudgeParams, params)
    from stages.lm.planning import search
    from stages.lm.planning.chips import devices_of, parse_topology
    from stages.lm.planning.programs import PROMPT_TOKENS, accelerator_dtype
    from stages.zoo.configs import config_of

    wanted = parse_topology(topology)
    config = config_of(model)
    tensors = tensor or search.tensors_tried(wanted.chips, config)
    for each in tensors:
        if each < 1 or wanted.chips % each:
            raise UserError(f"--tensor {each}: {wanted.chips} chips cannot be split into groups of {each}")
    devices = devices_of(wanted)
    recipe = _recipe(knobs)
    with progress(f"compiling {model} for {topology}", 2 * len(tensors) + 2, "programs") as advance:
        judging = search.judge_plan(config, accelerator_dtype(asking.dtype), wanted, devices, tensors, advance)
        training = search.training_plan(config, recipe, wanted, devices, tensors, advance)
    found = {
        "model": model,
        "topology": topology,
        "chips": wanted.chips,
        "judging": _facts(judging, wanted),
        "fine_tuning": _facts(training, wanted),
    }
    if as_json:
        print(json.dumps(found, indent=2))
        return
    print(_chips(wanted))
    print(f"\nJudging {search.JUDGED_PROMPTS:,} prompts of {PROMPT_TOKENS} tokens, in both orders of options")
    print(_words(judging, wanted, "questions a call"))
    print(f"\nFine-tuning, {search.TRAINED_STEPS:,} steps: {_of(knobs)}")
    print(_words(training, wanted, "examples a step"))
    if training.best is None and not recipe.remat:
        print("finetune.remat=true takes less memory, for the same results except rounding")


def _recipe(knobs: FinetuneParams) -> "Recipe":
    from stages.lm.lora.adapters import LoraConfig
    from stages.lm.planning.programs import Recipe, accelerator_dtype
    from stages.lm.training.optimizer import OptimizerConfig

    return Recipe(
        optimizer=OptimizerConfig.from_params(knobs),
        steps=knobs.steps,
        batch_size=knobs.batch_size,
        gradient_accumulation_steps=knobs.gradient_accumulation_steps,
        max_tokens=knobs.max_tokens,
        dtype=accelerator_dtype(knobs.dtype),
        remat=knobs.remat,
        lora=LoraConfig(**vars(knobs.lora)) if knobs.method == "lora" else None,
    )


def _of(knobs: FinetuneParams) -> str:
    remat = "layers recomputed" if knobs.remat else "layers kept"
    parts = f" in {knobs.gradient_accumulation_steps} parts" if knobs.gradient_accumulation_steps > 1 else ""
    return (
        f"{knobs.method}, {knobs.optimizer}, {knobs.batch_size} examples{parts} in rows of {knobs.max_tokens}, {remat}"
    )


def _chips(topology: "Topology") -> str:
    chip = topology.chip
    return (
        f"{topology}: {topology.chips} x {chip.name}, each {chip.flops / 1e12:,.0f} TFLOP/s (bfloat16), "
        f"{chip.memory / GIB:,.1f} GiB at {chip.bandwidth / 1e9:,.0f} GB/s, "
        f"{chip.sending(topology.chips) / 1e9:,.0f} GB/s to others ({chip.source})"
    )


def _words(plan: "StepPlan", topology: "Topology", unit: str) -> str:
    rows = [HEADER, *(_row(on) for on in plan.meshes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if plan.best is None:
        return "\n".join([*lines, "it fits on none of these; more chips, or a smaller model, are needed"])
    assert plan.best.program.counts is not None
    for kind, found in sorted(plan.best.program.counts.by_kind().items()):
        lines.append(f"{kind}: {found['times']:,.0f} times, {found['bytes'] / 1e9:,.2f} GB of arrays a call")
    hours, chip_hours = plan.hours(topology.chips)
    largest = "not told by two sizes" if plan.largest is None else f"about {plan.largest:,} {unit}"
    lines.append(
        f"best: CANDOR_TENSOR_PARALLEL={plan.best.tensor}; {plan.calls:,} calls in {_duration(hours)}, "
        f"{chip_hours:,.1f} chip-hours; largest batch that fits: {largest}"
    )
    return "\n".join(lines)


def _row(on: "MeshPlan") -> tuple[str, ...]:
    size = f"{on.program.bytes / GIB:.2f}" if on.program.bytes else "?"
    if on.program.counts is None or on.seconds is None:
        return (str(on.tensor), "no", size, *["-"] * (len(HEADER) - 3))
    counts, time = on.program.counts, on.seconds
    compiler = "-" if time.compiler is None else f"{time.compiler:.3f}"
    sums = (counts.flops / 1e12, counts.bytes / 1e9, counts.sent / 1e9)
    times = (f"{each:.3f}" for each in (time.arithmetic, time.memory, time.links, time.roofline))
    fits = "yes" if on.fits else "no"
    return (str(on.tensor), fits, size, *(f"{each:,.2f}" for each in sums), *times, compiler, f"{time.expected:.3f}")


def _duration(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"


def _facts(plan: "StepPlan", topology: "Topology") -> dict[str, Any]:
    meshes = [_mesh_facts(on) for on in plan.meshes]
    if plan.best is None:
        return {"meshes": meshes, "best_tensor": None}
    hours, chip_hours = plan.hours(topology.chips)
    return {
        "meshes": meshes,
        "best_tensor": plan.best.tensor,
        "calls": plan.calls,
        "hours": hours,
        "chip_hours": chip_hours,
        "largest_batch": plan.largest,
    }


def _mesh_facts(on: "MeshPlan") -> dict[str, Any]:
    facts: dict[str, Any] = {
        "tensor": on.tensor,
        "fits": on.fits,
        "bytes_per_chip": on.program.bytes,
        "rows": on.program.rows,
    }
    if on.program.counts is None or on.seconds is None:
        return facts
    time = on.seconds
    return facts | {
        "flops": on.program.counts.flops,
        "bytes_moved": on.program.counts.bytes,
        "bytes_sent": on.program.counts.sent,
        "collectives": on.program.counts.by_kind(),
        "seconds": {
            "arithmetic": time.arithmetic,
            "memory": time.memory,
            "links": time.links,
            "roofline": time.roofline,
            "compiler": time.compiler,
            "expected": time.expected,
        },
    }
