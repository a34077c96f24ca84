"""The table from the decoder's params to Hugging Face tensor names, and the shapes of both.

Layers are stacked: the leaf `layers/attention/query/kernel` [L, D, N, H] contains
`model.layers.{l}.self_attn.q_proj.weight` [N*H, D] of every layer, transposed.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from stages.lm.nn.config import ModelConfig

ParamPath = tuple[str, ...]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class ParamSpec:
    """A leaf in a file: its key (with {layer} if the leaf is stacked), and whether it is transposed there."""

    key: str
    transposed: bool

    @property
    def stacked(self) -> bool:
        """Whether the leaf has one array per layer."""
        return "{layer}" in self.key


def _norms(names: Mapping[tuple[str, ...], str]) -> dict[ParamPath, ParamSpec]:
    return {("layers", *path, "scale"): ParamSpec(f"{_BLOCK}{name}.weight", False) for path, name in names.items()}


_BLOCK = "model.layers.{layer}."
_PROJECTIONS = {
    ("attention", "query"): "self_attn.q_proj",
    ("attention", "key"): "self_attn.k_proj",
    ("attention", "value"): "self_attn.v_proj",
    ("attention", "out"): "self_attn.o_proj",
    ("mlp", "gate"): "mlp.gate_proj",
    ("mlp", "up"): "mlp.up_proj",
    ("mlp", "down"): "mlp.down_proj",
}
HF_PARAM_NAMES: dict[ParamPath, ParamSpec] = {
    ("embedding",): ParamSpec("model.embed_tokens.weight", False),
    ("head",): ParamSpec("lm_head.weight", False),
    ("norm", "scale"): ParamSpec("model.norm.weight", False),
    **_norms(
        {
            ("attention_norm",): "input_layernorm",
            ("attention", "query_norm"): "self_attn.q_norm",
            ("attention", "key_norm"): "self_attn.k_norm",
            ("mlp_norm",): "post_attention_layernorm",
        }
    ),
    **{("layers", *path, "kernel"): ParamSpec(f"{_BLOCK}{name}.weight", True) for path, name in _PROJECTIONS.items()},
    **{("layers", *path, "bias"): ParamSpec(f"{_BLOCK}{name}.bias", False) for path, name in _PROJECTIONS.items()},
}
# In models with post-norms, `post_attention_layernorm` is the norm after attention, not the one before the MLP.
POST_NORM_NAMES = _norms(
    {
        ("attention_post_norm",): "post_attention_layernorm",
        ("mlp_norm",): "pre_feedforward_layernorm",
        ("mlp_post_norm",): "post_feedforward_layernorm",
    }
)


def param_specs(config: ModelConfig) -> dict[ParamPath, ParamSpec]:
    """The table for a decoder with this config; it may name more leaves than the decoder has."""
    return HF_PARAM_NAMES | POST_NORM_NAMES if config.post_norm else HF_PARAM_NAMES


def file_shapes(shapes: Mapping[ParamPath, Shape], config: ModelConfig) -> dict[str, Shape]:
    """The shape that each key should have in a file, for leaves of the given shapes."""
    shape_of: dict[str, Shape] = {}
    for path, shape in shapes.items():
        leaf = param_specs(config)[path]
        for layer in range(config.layers if leaf.stacked else 1):
            shape_of[leaf.key.format(layer=layer)] = _file_shape(leaf, shape[1:] if leaf.stacked else shape, config)
    return shape_of


def from_file(leaf: ParamSpec, values: np.ndarray, shape: Shape) -> np.ndarray:
    """Converts an array of a file to a leaf, or to one layer of it, of shape `shape`."""
    return (values.T if leaf.transposed else values).reshape(shape)


def to_file(leaf: ParamSpec, array: np.ndarray, config: ModelConfig) -> Iterator[tuple[str, np.ndarray]]:
    """Converts a leaf to the keys and arrays of a file."""
    for layer, values in enumerate(array) if leaf.stacked else [(0, array)]:
        shape = _file_shape(leaf, values.shape, config)
        rows = values.reshape(shape[::-1]).T if leaf.transposed else values.reshape(shape)
        yield leaf.key.format(layer=layer), np.ascontiguousarray(rows)


def _file_shape(leaf: ParamSpec, shape: Shape, config: ModelConfig) -> Shape:
    if leaf.transposed:
        # The axes of a kernel are (inputs..., outputs...); only attention's output projection has two input axes.
        inputs = config.heads * config.head_width if leaf.key.endswith("o_proj.weight") else shape[0]
        return math.prod(shape) // inputs, inputs
    return (math.prod(shape),) if leaf.key.endswith("bias") else shape
