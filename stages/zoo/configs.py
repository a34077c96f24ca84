"""Resolves a model's name to its ModelConfig, without its weights."""

from pathlib import Path

from stages.core.errors import UserError
from stages.fetch import hub
from stages.lm.io.hf_config import parse_config, read_config
from stages.lm.io.hf_folder import CONFIG
from stages.lm.nn.config import ModelConfig
from stages.lm.planning.decoders import DECODERS
from stages.zoo.hub_files import receive_config
from stages.zoo.registry import MODELS, HubModel
from stages.zoo.resolve import BASE, model_folder
from stages.zoo.sources import model_pin


def config_of(model: str) -> ModelConfig:
    """The config of a built-in description, a model folder, a .gguf file or a model of the registry.

    For a model on the hub that is not on this machine, only config.json is fetched.

    Raises:
        UserError: there is no such model, or it cannot be fetched.
    """
    if model in DECODERS:
        return parse_config(DECODERS[model])
    entry, is_local = MODELS.get(model), (BASE / model).is_dir()
    if isinstance(entry, HubModel) and not is_local:
        return read_config(_fetch_config(model, entry))
    if entry is None and not is_local and not Path(model).exists():
        raise UserError(
            f"the model {model!r} is not known; known are {', '.join(DECODERS)}, the names of `candor models`, "
            "model folders and .gguf files"
        )
    return read_config(model_folder(model) / CONFIG)


def _fetch_config(name: str, entry: HubModel) -> Path:
    """Fetches only the config.json of a registry model, at its pinned commit."""
    return receive_config(hub.find(entry.repository, "model", model_pin(name, entry).revision))
