"""Stage `base`: fetches or converts a model into a model folder."""

from pathlib import Path

from stages.core.errors import run
from stages.core.files import atomic_dir
from stages.core.params import read_params
from stages.params.base import BaseParams
from stages.zoo.materialise import materialise
from stages.zoo.sources import own_source, registry_source


def main(model: str, out: Path) -> None:
    """Writes the model folder of MODEL (a registry name or one of own_models) to OUT."""
    own = read_params(BaseParams).own_models.get(model)
    source = own_source(model, own.source, own.revision, own.sha256) if own else registry_source(model)
    with atomic_dir(out) as folder:
        materialise(source, folder)


if __name__ == "__main__":
    run(main)
