"""Recovers Llama 3's rope scaling from a GGUF file, which has the divisor of each frequency but not the parameters.

All Llama 3 models use the same parameters except the factor. Divisors that do not match them are refused.
"""

from typing import Any

import numpy as np

_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8_192}


def rope_scaling(divisors: np.ndarray, theta: float, head_width: int) -> dict[str, Any] | None:
    """The value of `rope_scaling` in config.json that gives these divisors [H/2], or None if none does."""
    factor = round(float(divisors.max()), 3)
    frequencies = theta ** -(np.arange(0, head_width, 2) / head_width)
    turns = _LLAMA3["original_max_position_embeddings"] * frequencies / (2 * np.pi)
    low, high = _LLAMA3["low_freq_factor"], _LLAMA3["high_freq_factor"]
    unscaled = np.clip((turns - low) / (high - low), 0.0, 1.0)
    expected = 1.0 / (unscaled + (1.0 - unscaled) / factor)
    if divisors.shape != expected.shape or not np.allclose(divisors, expected, rtol=1e-4):
        return None
    return {"rope_type": "llama3", "factor": factor, **_LLAMA3}
