"""Stage `base`: a model's weights, config and tokenizer as a model folder."""

from pathlib import Path

from stages.core.errors import run
from stages.core.files import atomic_dir
from stages.core.params import read_params
from stages.params.base import BaseParams
from stages.zoo.resolve import from_own, from_registry


def main(model: str, out: Path) -> None:
    """Writes the model folder of MODEL (a registry name or one of own_models) to OUT."""
    own = read_params(BaseParams).own_models.get(model)
    with atomic_dir(out) as folder:
        if own is None:
            from_registry(model, folder)
        else:
            from_own(model, own.source, own.revision, own.sha256, folder)


if __name__ == "__main__":
    run(main)
