"""Compares a model's logits with those of another implementation."""

from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from stages.core.errors import ModelError
from stages.lm.io.hf_config import read_config
from stages.lm.io.hf_folder import CONFIG
from stages.lm.io.weights import load_decoder
from stages.lm.nn.decoder import FLOAT32


@dataclass(frozen=True)
class LogitDifference:
    """The logit in which two implementations differ most, and by how much."""

    size: float
    row: int
    position: int
    token: int
    expected: float
    found: float


def largest_difference(
    folder: Path, tokens_BT: np.ndarray, lengths_B: np.ndarray, logits_BTV: np.ndarray
) -> LogitDifference:
    """Where the float32 logits of the model in `folder` differ most from `logits_BTV`, over the valid positions.

    Sequences are padded on the right; row b is valid up to `lengths_B[b]`. A difference of NaN counts as infinite.

    Raises:
        ModelError: the logits are over another vocabulary than the model's.
    """
    config = read_config(folder / CONFIG)
    if logits_BTV.shape[-1] != config.vocab:
        raise ModelError(f"the reference has {logits_BTV.shape[-1]} logits per position, {folder} has {config.vocab}")
    index_T = np.arange(tokens_BT.shape[1])
    valid_BT = index_T < lengths_B[:, None]
    positions_BT = jnp.asarray(np.broadcast_to(index_T, tokens_BT.shape))
    ends_BT = jnp.asarray(np.where(valid_BT, lengths_B[:, None], index_T + 1))
    model = load_decoder(folder, config)
    actual_BTV = np.asarray(model.logits(model(jnp.asarray(tokens_BT), positions_BT, ends_BT, FLOAT32)))
    difference_BTV = np.nan_to_num(np.abs(actual_BTV - logits_BTV), nan=np.inf)
    difference_BTV[~valid_BT] = -1.0
    row, position, token = np.unravel_index(np.argmax(difference_BTV), difference_BTV.shape)
    index = (row, position, token)
    return LogitDifference(
        float(difference_BTV[index]),
        int(row),
        int(position),
        int(token),
        float(logits_BTV[index]),
        float(actual_BTV[index]),
    )
