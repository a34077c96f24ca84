"""What decoder a model's name stands for, without its weights."""

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
    """The decoder of a description that comes along, a model folder, a .gguf file or a name of the registry.

    Of a model on the hub that is not here its config.json alone is fetched.

    Raises:
        UserError: there is no such model, or it cannot be fetched.
    """
    if model in DECODERS:
        return parse_config(DECODERS[model])
    entry, is_made = MODELS.get(model), (BASE / model).is_dir()
    if isinstance(entry, HubModel) and not is_made:
        return read_config(_config_on_hub(model, entry))
    if entry is None and not is_made and not Path(model).exists():
        raise UserError(
            f"the model {model!r} is not known; known are {', '.join(DECODERS)}, the names of `candor models`, "
            "model folders and .gguf files"
        )
    return read_config(model_folder(model) / CONFIG)


def _config_on_hub(name: str, entry: HubModel) -> Path:
    """The config.json of a registry model at its pinned commit, and nothing else of it."""
    return receive_config(hub.find(entry.repository, "model", model_pin(name, entry).revision))
