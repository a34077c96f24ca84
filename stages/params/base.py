"""Params of stage `base`: the user's own models."""

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT, Name


@dataclass(frozen=True, config=STRICT)
class OwnModel:
    """One of the user's own models.

    `source` is a hub id, a model folder or a .gguf file. `revision` is the commit on the hub, and `sha256` the SHA-256
    sum of the weights file.
    """

    source: str = Field(alias="from", min_length=1)
    revision: str | None = Field(default=None, min_length=1)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


@dataclass(frozen=True, config=STRICT)
class BaseParams:
    """The user's own models, by short name."""

    top_level: ClassVar[tuple[str, ...]] = ("own_models",)
    section: ClassVar[str | None] = None

    own_models: dict[Name, OwnModel]
