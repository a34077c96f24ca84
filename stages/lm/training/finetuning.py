"""Fine-tuning from start to end: adds adapters if LoRA is set, trains, exports kept steps, gathers the tuned model."""

from dataclasses import replace
from pathlib import Path

from stages.lm.lora.adapters import LoraConfig, add_adapters, merge_adapters
from stages.lm.lora.tuned_model import TunedModel, gather_tuned
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.shapes import Mesh
from stages.lm.training.checkpoints import export_once
from stages.lm.training.loop import train
from stages.lm.training.state import TrainConfig, TrainData, TrainHooks, TrainState


def exported(scratch: Path) -> Path:
    """The folder in a run's scratch with the exported models of the kept steps and of the last one."""
    return scratch / "exported"


def finetune(
    model: Decoder,
    data: TrainData,
    config: TrainConfig,
    lora: LoraConfig | None,
    seed: int,
    hooks: TrainHooks,
    mesh: Mesh,
) -> tuple[TunedModel, TrainState]:
    """Trains `model` in place: all weights, or with `lora` adapters, drawn from `seed` and merged at the end.

    Exports the kept steps and the last one, with adapters merged, as Orbax checkpoints into `exported(hooks.scratch)`.

    Raises:
        ModelError, Interrupted: as `stages.lm.training.loop.train`.
    """
    if lora is not None:
        add_adapters(model, lora, seed)

    def keep(step: int, decoder: Decoder) -> None:
        if lora is not None:
            merge_adapters(decoder, lora.targets)
        export_once(decoder, exported(hooks.scratch) / str(step))

    state = train(model, data, config, replace(hooks, keep=keep), mesh)
    tuned = gather_tuned(model, lora)
    export_once(model, exported(hooks.scratch) / str(config.steps))
    return tuned, state
