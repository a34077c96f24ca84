"""The result of fine-tuning: gathers tuned weights and adapters from all processes and writes a model folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.core.files import atomic_dir
from stages.lm.io import hf_folder
from stages.lm.io.safetensors_read import open_tensors
from stages.lm.io.safetensors_write import as_pending, save_tensors
from stages.lm.io.weights import tensors_of
from stages.lm.lora.adapters import LoraConfig, merge_adapters
from stages.lm.lora.peft_files import adapter_tensors, save_adapter
from stages.lm.nn.decoder import Decoder

ADAPTER = "adapter"


@dataclass(frozen=True)
class TunedModel:
    """Tuned weights by Hugging Face key, and adapters by PEFT key if there are any, on this host."""

    weights: Mapping[str, np.ndarray]
    adapters: dict[str, np.ndarray]
    lora: LoraConfig | None

    def write(self, base: Path, out: Path, card: str) -> None:
        """Writes a model folder with the config, the tokenizer and the number types of the folder `base`."""
        with atomic_dir(out) as target:
            hf_folder.copy_small_files(base, target)
            if self.lora is not None:
                # In its own folder: next to the merged weights, Transformers would apply the adapter a second time.
                (target / ADAPTER).mkdir()
                save_adapter(self.adapters, target / ADAPTER, self.lora.rank, self.lora.alpha)
            types = {key: tensor.type for key, tensor in open_tensors(base).items()}
            save_tensors(as_pending(self.weights, types), target)
            hf_folder.write_card(target, card)


def gather_tuned(model: Decoder, lora: LoraConfig | None) -> TunedModel:
    """Merges the model's adapters, if any, and gathers its weights; with several processes, all must call this."""
    adapters = {}
    if lora is not None:
        adapters = adapter_tensors(model, lora.rank)
        merge_adapters(model, lora.targets)
    return TunedModel(tensors_of(model), adapters, lora)
