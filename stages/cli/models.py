"""`candor models`: lists the registry's models with their size, licence and memory."""

from stages.core.shared_types import GIB
from stages.zoo.registry import MODELS, BundledModel, HubModel, Organism, memory_of

HEADER = ("name", "from", "parameters", "licence", "gated", "judge", "lora", "full")


def models() -> None:
    """Prints the models of the registry, with the memory in GiB that judging and fine-tuning need.

    The memory is that of weights, gradients and optimizer state in float32; judging in bfloat16, the default on
    accelerators, takes half. Activations come on top; finetune asks the compiler for their size before the first step.
    Pin a model of the hub before you use it (`candor pin NAME`). For a gated model, accept the terms on its page and
    log in with `hf auth login`.
    """
    rows = [HEADER, *(_row(name, entry) for name, entry in MODELS.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        texts = [cell.ljust(width) for cell, width in zip(row[:5], widths, strict=False)]
        numbers = [cell.rjust(width) for cell, width in zip(row[5:], widths[5:], strict=True)]
        print("  ".join([*texts, *numbers]))


def _row(name: str, entry: BundledModel | Organism | HubModel) -> tuple[str, ...]:
    if isinstance(entry, Organism):
        base = MODELS[entry.base]
        assert isinstance(base, BundledModel)
        return _cells(name, f"an adapter on {entry.base}", base.parameters, base.licence, False)
    if isinstance(entry, BundledModel):
        return _cells(name, f"the package index, {entry.archive}", entry.parameters, entry.licence, False)
    return _cells(name, entry.repository, entry.parameters, entry.licence, entry.gated)


def _cells(name: str, source: str, parameters: int, licence: str, gated: bool) -> tuple[str, ...]:
    memory = memory_of(parameters)
    gib = [f"{size / GIB:.1f}" for size in (memory.judge, memory.adapters, memory.full)]
    return name, source, f"{parameters / 1e6:,.0f}M", licence, "yes" if gated else "no", *gib
