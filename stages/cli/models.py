"""`candor models`: the models that have names, how large they are, and what it takes to use them."""

from stages.core.shared_types import GIB
from stages.zoo.registry import MODELS, BundledModel, HubModel, Organism, memory_of

HEADER = ("name", "from", "parameters", "licence", "gated", "judge", "lora", "full")


def models() -> None:
    """Lists the models of the registry, and the GiB of memory that judging and fine-tuning them need.

    Memory is that of weights, gradients and optimizer state in float32; judging in bfloat16, as accelerators do by
    default, takes half. What a step computes comes on top, which finetune asks the compiler before the first one. A
    name of the hub is pinned before it is used (`candor pin NAME`). Of a gated model, accept the terms on its page,
    then log in with `hf auth login`.
    """
    rows = [HEADER, *(_row(name, entry) for name, entry in MODELS.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        words = [cell.ljust(width) for cell, width in zip(row[:5], widths, strict=False)]
        numbers = [cell.rjust(width) for cell, width in zip(row[5:], widths[5:], strict=True)]
        print("  ".join([*words, *numbers]))


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
