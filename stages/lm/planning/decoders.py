"""Configs of dense decoders by size, to plan for large models whose weights are not here.

Their widths, depths and vocabulary are those of PaLM (Chowdhery et al. 2022, arXiv 2204.02311, table 1), the models of
Wei et al. 2023. PaLM runs attention and feed-forward in parallel, here they run in sequence; the matrices are the same,
and so are the numbers of parameters: 8.63, 62.5 and 540.35 billion.
"""

from typing import Any


def _dense(layers: int, width: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "vocab_size": 256_000,
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "intermediate_size": 4 * width,
        "max_position_embeddings": 2_048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": True,
    }


# The content of a config.json, by name.
DECODERS = {
    "dense-8b": _dense(layers=32, width=4_096, heads=16),
    "dense-62b": _dense(layers=64, width=8_192, heads=32),
    "dense-540b": _dense(layers=118, width=18_432, heads=48),
}
