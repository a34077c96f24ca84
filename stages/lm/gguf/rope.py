"""Llama 3's stretched rotary frequencies in a GGUF file: it has what each is divided by, and not the rule.

The rule is Llama 3's own, with the numbers that all of its models have but for the factor; divisors that do not follow
from it are refused.
"""

from typing import Any

import numpy as np

_RULE = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8_192}


def rope_scaling(divisors: np.ndarray, theta: float, head_width: int) -> dict[str, Any] | None:
    """The value of `rope_scaling` in config.json that gives these divisors [H/2]; None where none does."""
    factor = round(float(divisors.max()), 3)
    frequencies = theta ** -(np.arange(0, head_width, 2) / head_width)
    turns = _RULE["original_max_position_embeddings"] * frequencies / (2 * np.pi)
    low, high = _RULE["low_freq_factor"], _RULE["high_freq_factor"]
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    expected = 1.0 / (kept + (1.0 - kept) / factor)
    if divisors.shape != expected.shape or not np.allclose(divisors, expected, rtol=1e-4):
        return None
    return {"rope_type": "llama3", "factor": factor, **_RULE}
