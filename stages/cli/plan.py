"""`candor plan`: estimates memory and time of judging and fine-tuning on accelerators that need not be present."""

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
    topology: Annotated[
        str, typer.Option(help="The accelerators: v4:4x4x4, v5e:4x4, v6e:4x4, v5p:2x2x2, h100:8, a100:8, …")
    ],
    params: Annotated[Path, typer.Option(help="The params file with the recipe.")] = PARAMS,
    tensor: Annotated[
        list[int] | None,
        typer.Option(help="A value of CANDOR_TENSOR_PARALLEL to try; repeat for more. Default: 1, 4 and 16."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Prints the memory and time that judging and fine-tuning would take on TOPOLOGY, without running them.

    Neither weights nor the accelerators are needed; TPUs need libtpu (`make setup EXTRAS=tpu`). The steps are compiled;
    for GPUs they are compiled for simulated devices, and their time is estimated from the operation counts.
    """
    finetune_params, judge_params = read_params(FinetuneParams, params), read_params(JudgeParams, params)
    from stages.lm.planning import search
    from stages.lm.planning.chips import devices_of, parse_topology
    from stages.lm.planning.programs import PROMPT_TOKENS, accelerator_dtype
    from stages.zoo.configs import config_of

    parsed = parse_topology(topology)
    config = config_of(model)
    tensors = tensor or search.tensors_tried(parsed.chips, config)
    for size in tensors:
        if size < 1 or parsed.chips % size:
            raise UserError(f"--tensor {size}: {parsed.chips} chips cannot be split into groups of {size}")
    devices = devices_of(parsed)
    recipe = _recipe(finetune_params)
    with progress(f"compiling {model} for {topology}", 2 * len(tensors) + 2, "programs") as advance:
        dtype = accelerator_dtype(judge_params.dtype)
        judging = search.judge_plan(config, dtype, parsed, devices, tensors, advance)
        training = search.training_plan(config, recipe, parsed, devices, tensors, advance)
    if as_json:
        document = {
            "model": model,
            "topology": topology,
            "chips": parsed.chips,
            "judging": _step_facts(judging, parsed),
            "fine_tuning": _step_facts(training, parsed),
        }
        print(json.dumps(document, indent=2))
        return
    print(_chips(parsed))
    print(f"\nJudging {search.JUDGED_PROMPTS:,} prompts of {PROMPT_TOKENS} tokens, in both orders of options")
    print(_step_table(judging, parsed, "questions a call"))
    print(f"\nFine-tuning, {search.TRAINED_STEPS:,} steps: {_recipe_text(finetune_params)}")
    print(_step_table(training, parsed, "examples a step"))
    if training.best is None and not recipe.remat:
        print("finetune.remat=true takes less memory, for the same results except rounding")


def _recipe(params: FinetuneParams) -> "Recipe":
    from stages.lm.lora.adapters import LoraConfig
    from stages.lm.planning.programs import Recipe, accelerator_dtype
    from stages.lm.training.optimizer import OptimizerConfig

    return Recipe(
        optimizer=OptimizerConfig.from_params(params),
        steps=params.steps,
        batch_size=params.batch_size,
        gradient_accumulation_steps=params.gradient_accumulation_steps,
        max_tokens=params.max_tokens,
        dtype=accelerator_dtype(params.dtype),
        remat=params.remat,
        lora=LoraConfig(**vars(params.lora)) if params.method == "lora" else None,
    )


def _recipe_text(params: FinetuneParams) -> str:
    remat = "layers recomputed" if params.remat else "layers kept"
    parts = f" in {params.gradient_accumulation_steps} parts" if params.gradient_accumulation_steps > 1 else ""
    examples = f"{params.batch_size} examples{parts} in rows of {params.max_tokens}"
    return f"{params.method}, {params.optimizer}, {examples}, {remat}"


def _chips(topology: "Topology") -> str:
    chip = topology.chip
    return (
        f"{topology}: {topology.chips} x {chip.name}, each {chip.flops / 1e12:,.0f} TFLOP/s (bfloat16), "
        f"{chip.memory / GIB:,.1f} GiB at {chip.bandwidth / 1e9:,.0f} GB/s, "
        f"{chip.sending(topology.chips) / 1e9:,.0f} GB/s to others ({chip.source})"
    )


def _step_table(plan: "StepPlan", topology: "Topology", unit: str) -> str:
    rows = [HEADER, *(_row(mesh) for mesh in plan.meshes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if plan.best is None:
        return "\n".join([*lines, "it fits on none of these; use more chips or a smaller model"])
    assert plan.best.program.counts is not None
    for kind, collective in sorted(plan.best.program.counts.by_kind().items()):
        gigabytes = collective["bytes"] / 1e9
        lines.append(f"{kind}: {collective['times']:,.0f} times, {gigabytes:,.2f} GB of arrays a call")
    hours, chip_hours = plan.hours(topology.chips)
    largest = "unknown from the two sizes tried" if plan.largest is None else f"about {plan.largest:,} {unit}"
    lines.append(
        f"best: CANDOR_TENSOR_PARALLEL={plan.best.tensor}; {plan.calls:,} calls in {_duration(hours)}, "
        f"{chip_hours:,.1f} chip-hours; largest batch that fits: {largest}"
    )
    return "\n".join(lines)


def _row(mesh: "MeshPlan") -> tuple[str, ...]:
    size = f"{mesh.program.bytes / GIB:.2f}" if mesh.program.bytes else "?"
    if mesh.program.counts is None or mesh.seconds is None:
        return (str(mesh.tensor), "no", size, *["-"] * (len(HEADER) - 3))
    counts, time = mesh.program.counts, mesh.seconds
    compiler = "-" if time.compiler is None else f"{time.compiler:.3f}"
    totals = (f"{total:,.2f}" for total in (counts.flops / 1e12, counts.bytes / 1e9, counts.sent / 1e9))
    times = (f"{seconds:.3f}" for seconds in (time.arithmetic, time.memory, time.links, time.roofline))
    fits = "yes" if mesh.fits else "no"
    return (str(mesh.tensor), fits, size, *totals, *times, compiler, f"{time.expected:.3f}")


def _duration(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"


def _step_facts(plan: "StepPlan", topology: "Topology") -> dict[str, Any]:
    meshes = [_mesh_facts(mesh) for mesh in plan.meshes]
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


def _mesh_facts(mesh: "MeshPlan") -> dict[str, Any]:
    facts: dict[str, Any] = {
        "tensor": mesh.tensor,
        "fits": mesh.fits,
        "bytes_per_chip": mesh.program.bytes,
        "rows": mesh.program.rows,
    }
    if mesh.program.counts is None or mesh.seconds is None:
        return facts
    time = mesh.seconds
    return facts | {
        "flops": mesh.program.counts.flops,
        "bytes_moved": mesh.program.counts.bytes,
        "bytes_sent": mesh.program.counts.sent,
        "collectives": mesh.program.counts.by_kind(),
        "seconds": {
            "arithmetic": time.arithmetic,
            "memory": time.memory,
            "links": time.links,
            "roofline": time.roofline,
            "compiler": time.compiler,
            "expected": time.expected,
        },
    }
