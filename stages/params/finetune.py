"""Params of stage `finetune`: the training recipe."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from stages.core.param_types import STRICT, Count, Seed
from stages.core.shared_types import Dtype, PromptFormat


@dataclass(frozen=True, config=STRICT)
class LoraParams:
    """Low-rank adapters: their rank, their scale, and the projections that get one."""

    rank: Count
    alpha: Annotated[float, Field(gt=0.0)]
    targets: Annotated[tuple[Literal["query", "key", "value", "out", "gate", "up", "down"], ...], Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class FinetuneParams:
    """The training recipe; params.yaml explains each key."""

    top_level: ClassVar[tuple[str, ...]] = ("seed", "prompt_format")
    section: ClassVar[str | None] = "finetune"

    seed: Seed
    prompt_format: PromptFormat
    method: Literal["full", "lora"]
    steps: Count
    batch_size: Count
    gradient_accumulation_steps: Count
    optimizer: Literal["adamw", "adafactor"]
    learning_rate: Annotated[float, Field(gt=0.0)]
    schedule: Literal["constant", "cosine"]
    warmup_steps: Annotated[int, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0.0)]
    max_grad_norm: Annotated[float, Field(gt=0.0)]
    max_tokens: Annotated[int, Field(ge=16)]
    overlength: Literal["refuse", "cut"]
    save_steps: Count
    keep_steps: tuple[Count, ...]
    eval_steps: Annotated[int, Field(ge=0)]
    remat: bool
    dtype: Dtype
    lora: LoraParams
