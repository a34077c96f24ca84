"""Types and units that both text and array code use (standard library only)."""

from collections.abc import Callable
from typing import Literal

GIB = 2**30

# `default` is float32 on a CPU and bfloat16 (head and softmax in float32) on TPU and GPU.
Dtype = Literal["default", "float32", "bfloat16"]
PromptFormat = Literal["plain", "chat"]
# Reports that this many more units of work are done, with a note that replaces the previous note.
Advance = Callable[[float, str], None]
