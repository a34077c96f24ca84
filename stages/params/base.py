"""Knobs of `base`: models that the user describes."""

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT, Name


@dataclass(frozen=True, config=STRICT)
class OwnModel:
    """A model of the user's own: a hub id and its revision, or a model folder or .gguf file; SHA-256 of its weights."""

    source: str = Field(alias="from", min_length=1)
    revision: str | None = Field(default=None, min_length=1)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


@dataclass(frozen=True, config=STRICT)
class BaseParams:
    """The user's own models by short name."""

    top_level: ClassVar[tuple[str, ...]] = ("own_models",)
    section: ClassVar[str | None] = None

    own_models: dict[Name, OwnModel]
