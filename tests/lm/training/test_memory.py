"""The memory check: the compiler's analysis, and the settings that the error names."""

from pathlib import Path

import jax.numpy as jnp
import pytest
from flax import nnx

from stages.core.errors import ModelError
from stages.lm.nn.sharding import device_mesh
from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.training.loop import train
from stages.lm.training.memory import abstract_batches, bytes_beyond_arguments, check_memory
from stages.lm.training.optimizer import OptimizerConfig, make_optimizer
from stages.lm.training.packing import PackedShape
from stages.lm.training.state import TrainConfig, TrainData, TrainHooks
from stages.lm.training.step import compiled_step
from tests.helpers.tiny_model import TinyModel

pytestmark = pytest.mark.usefixtures("lightly_compiled")

OPTIMIZER = OptimizerConfig("adamw", 1e-3, "constant", warmup_steps=0, weight_decay=0.0, max_grad_norm=1.0)
CONFIG = TrainConfig(
    steps=4, batch_size=8, gradient_accumulation_steps=1, save_steps=2, eval_steps=0, keep_steps=(),
    optimizer=OPTIMIZER, dtype=jnp.dtype("float32"), remat=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("free", "advice"),
    [
        (90, "with finetune.remat=true it needs 80.0 GiB, for the same results except rounding"),
        (
            50,
            "with finetune.remat=true and finetune.gradient_accumulation_steps=2 it needs 45.0 GiB, "
            "for the same results except rounding",
        ),
        (1, "lower finetune.batch_size or finetune.max_tokens, or set finetune.method=lora"),
    ],
)
def test_the_error_for_a_step_that_does_not_fit_names_settings_that_would(free: int, advice: str) -> None:
    gib = {(False, 1): 100, (True, 1): 80, (True, 2): 45, (True, 4): 30, (True, 8): 20}
    with pytest.raises(ModelError) as refused:
        check_memory(CONFIG, lambda config: gib[config.remat, config.gradient_accumulation_steps] * 2**30, free * 2**30)
    assert str(refused.value) == f"a training step needs 100.0 GiB of memory, and {free}.0 GiB are free; {advice}"


@pytest.mark.compile
def test_needed_bytes_grow_with_the_rows_and_shrink_with_remat(tiny: TinyModel) -> None:
    graph, weights = nnx.split(tiny().decoder)
    optimizer = make_optimizer(OPTIMIZER, 4)

    def needed(rows: int, remat: bool) -> int:
        step = compiled_step(graph, optimizer, weights, device_mesh(), CONFIG.dtype, remat)
        batches = abstract_batches(PackedShape(rows, 256, 8), 1, device_mesh())
        return bytes_beyond_arguments(step, weights, optimizer.init(weights), nnx.State({}), batches)

    few, many, recomputed = needed(2, False), needed(8, False), needed(8, True)
    # A hidden state alone is 8 x 256 x 24 float32 numbers, and each of three layers keeps several.
    assert many > few + 6 * 256 * 24 * 4 * 3
    assert recomputed < many


@pytest.mark.compile
def test_nothing_is_written_if_memory_is_too_small(tiny: TinyModel, tmp_path: Path) -> None:
    hooks = TrainHooks(tmp_path, 1e9, lambda amount, note: None, lambda: 0)
    with pytest.raises(ModelError, match=r"^a training step needs \S+ GiB of memory, and 0\.0 GiB are free; lower"):
        train(tiny().decoder, TrainData([PromptCompletion((20, 21, 22), 2)]), CONFIG, hooks, device_mesh())
    assert list(tmp_path.iterdir()) == []
