"""Every family of decoders, as changes to the tiny llama's config.json that make each of its features do something."""

from typing import Any

WINDOW = 5
ROPES = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 1_000.0},
    "full_attention": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0},
}
GEMMA: dict[str, Any] = {"hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 6, "sliding_window": WINDOW}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"model_type": "mistral", "sliding_window": WINDOW, "tie_word_embeddings": False},
    "qwen2": {"model_type": "qwen2"},
    "qwen3": {"model_type": "qwen3", "attention_bias": True},
    "gemma2": {"model_type": "gemma2", "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0, **GEMMA},
    "gemma3_text": {
        "model_type": "gemma3_text",
        "rope_parameters": ROPES,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        **GEMMA,
    },
}
