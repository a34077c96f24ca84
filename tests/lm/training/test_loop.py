"""The training loop: a step by hand, one program for a run, resuming, and what ends a run."""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stages.core.errors import Interrupted, ModelError
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.sharding import device_mesh
from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.training.loop import train
from stages.lm.training.optimizer import OptimizerConfig
from stages.lm.training.packing import Packed, PackedShape, pack
from stages.lm.training.state import TRAIN_LOG_COLUMNS, TrainConfig, TrainData, TrainHooks
from stages.lm.training.step import token_loss
from tests.helpers.families import FAMILIES
from tests.helpers.tiny_model import FLOAT32, TinyModel

pytestmark = pytest.mark.usefixtures("lightly_compiled", "exact")

Flat = dict[str, np.ndarray]

# Target lengths of 1, 2, 4, 8 and 16: their sum says which examples a step took.
EXAMPLES = [PromptCompletion(tuple(range(20, 26 + size)), 6) for size in (1, 2, 4, 8, 16)]


def config_of(steps: int, **changes: Any) -> TrainConfig:
    optimizer: dict[str, Any] = {"optimizer": "adamw", "learning_rate": 1e-3, "schedule": "constant"}
    optimizer |= {"warmup_steps": 0, "weight_decay": 0.0, "max_grad_norm": 1.0}
    settings: dict[str, Any] = {"batch_size": 2, "save_steps": 2, "dtype": FLOAT32, "remat": False}
    settings |= {"gradient_accumulation_steps": 1, "keep_steps": (), "eval_steps": 0}
    settings |= {name: changes.pop(name) for name in settings if name in changes}
    return TrainConfig(steps=steps, optimizer=OptimizerConfig(**(optimizer | changes)), **settings)


def trained(
    decoder: Decoder,
    config: TrainConfig,
    scratch: Path,
    examples: Sequence[PromptCompletion] = EXAMPLES,
    stop: int | None = None,
    kept: dict[int, Flat] | None = None,
) -> np.ndarray:
    """The train log; raises Broken after `stop` steps; `kept` gets the weights of kept steps."""
    done = 0.0

    def keep(step: int, decoder: Decoder) -> None:
        assert kept is not None
        kept[step] = weights(decoder)

    def advance(amount: float, note: str) -> None:
        nonlocal done
        done += amount
        if done == stop:
            raise Broken

    return train(
        decoder, TrainData(examples), config, TrainHooks(scratch, 1e9, advance, unlimited, keep), device_mesh()
    ).train_log


def unlimited() -> int:
    return 2**40


class Broken(Exception):
    pass


def name(path: tuple[Any, ...]) -> str:
    return "/".join(map(str, path))


def flat(state: nnx.State) -> Flat:
    """Copies, because training donates its buffers."""
    return {name(path): np.array(leaf[...]) for path, leaf in nnx.to_flat_state(state)}


def weights(decoder: Decoder) -> Flat:
    return flat(nnx.state(decoder, nnx.Param))


def assert_same(actual: Flat, expected: Flat) -> None:
    assert actual.keys() == expected.keys()
    for path, values in actual.items():
        assert values.tobytes() == expected[path].tobytes(), path


# ---- the update


@pytest.fixture
def gradient(tiny: TinyModel) -> Callable[[Flat, Sequence[PromptCompletion]], Flat]:
    """A function that gives the gradient of the mean loss over target tokens, example by example."""
    graph, state = nnx.split(tiny(seed=4).decoder)
    paths = [path for path, _ in nnx.to_flat_state(state)]

    @jax.jit
    @jax.grad
    def of_sum(state: nnx.State, batch: Packed) -> jax.Array:
        return token_loss(nnx.merge(graph, state), batch, FLOAT32, remat=False)[0]

    def gradient_at(point: Flat, examples: Sequence[PromptCompletion]) -> Flat:
        moved = nnx.from_flat_state([(path, nnx.Param(jnp.asarray(point[name(path)], jnp.float32))) for path in paths])
        shape = PackedShape(rows=1, length=32, targets=16)
        sums = [flat(of_sum(moved, pack([example], shape))) for example in examples]
        targets = sum(len(example.ids) - example.prompt_len for example in examples)
        return {path: np.stack([grad[path] for grad in sums]).sum(axis=0, dtype=np.float64) / targets for path in point}

    return gradient_at


def test_steps_are_adamw_by_hand(
    gradient: Callable[[Flat, Sequence[PromptCompletion]], Flat], tiny: TinyModel, tmp_path: Path
) -> None:
    """Two steps, in float64 except the gradients, which are longer than the clip norm."""
    decoder = tiny(seed=4).decoder
    by_hand = {path: values.astype(np.float64) for path, values in weights(decoder).items()}
    first = {path: np.zeros(values.shape) for path, values in by_hand.items()}
    second = {path: np.zeros(values.shape) for path, values in by_hand.items()}
    norms = []
    for step, batch in enumerate((EXAMPLES[:2], EXAMPLES[2:4]), 1):
        gradients = gradient(by_hand, batch)
        norms.append(np.sqrt(sum(np.sum(values**2) for values in gradients.values())))
        for path, values in gradients.items():
            clipped = values * 0.5 / norms[-1]
            first[path] = 0.9 * first[path] + 0.1 * clipped
            second[path] = 0.99 * second[path] + 0.01 * clipped**2
            root = np.sqrt(second[path] / (1 - 0.99**step))
            by_hand[path] -= 1e-2 * (first[path] / (1 - 0.9**step) / (root + 1e-8) + 0.1 * by_hand[path])
    log = trained(decoder, config_of(2, learning_rate=1e-2, weight_decay=0.1, max_grad_norm=0.5), tmp_path)
    assert min(norms) > 0.5
    np.testing.assert_allclose(log[:, TRAIN_LOG_COLUMNS.index("gradient_norm")], norms, rtol=1e-4)
    difference = np.concatenate([np.abs(values - by_hand[path]).ravel() for path, values in weights(decoder).items()])
    # An update is about the rate (1e-2). If a gradient is near zero, its rounding determines the update's sign.
    assert np.mean(difference < 1e-5) > 0.999
    assert difference.max() < 2.1e-2


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_of_every_family_is_trained(tiny: TinyModel, tmp_path: Path, family: str) -> None:
    decoder = tiny(seed=5, **FAMILIES[family]).decoder
    before = weights(decoder)
    log = trained(decoder, config_of(4, learning_rate=1e-2), tmp_path)
    assert log[-1, TRAIN_LOG_COLUMNS.index("loss")] < log[0, TRAIN_LOG_COLUMNS.index("loss")]
    for path, values in weights(decoder).items():
        assert not np.array_equal(values, before[path]), path


def test_remat_changes_no_gradient(tiny: TinyModel) -> None:
    graph, state = nnx.split(tiny(seed=3).decoder)
    tokens, ends = jnp.arange(20, 36)[None], jnp.full((1, 16), 16)

    def gradients(remat: bool) -> Flat:
        def loss(state: nnx.State) -> jax.Array:
            hidden = nnx.merge(graph, state)(tokens, jnp.arange(16)[None], ends, remat=remat)
            return jnp.sum(jnp.sin(hidden))

        return flat(jax.jit(jax.grad(loss))(state))

    recomputed = gradients(remat=True)
    for path, values in gradients(remat=False).items():
        np.testing.assert_allclose(recomputed[path], values, rtol=1e-4, atol=1e-5, err_msg=path)


# ---- a run


@pytest.fixture(scope="module")
def unbroken(
    lightly_compiled: None, tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Flat, np.ndarray, int]:
    """Weights and log after six steps with checkpoints after the second and fourth, and how often it was traced."""
    decoder = tiny(seed=4).decoder
    traced = 0

    def counted(*arguments: Any) -> Any:
        nonlocal traced
        traced += 1
        return token_loss(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.lm.training.step.token_loss", counted)
        log = trained(decoder, config_of(6), tmp_path_factory.mktemp("unbroken"))
    return weights(decoder), log, traced


def test_a_run_of_varying_lengths_is_one_program(unbroken: tuple[Flat, np.ndarray, int]) -> None:
    assert unbroken[2] == 1


def test_steps_take_examples_in_order_and_wrap(unbroken: tuple[Flat, np.ndarray, int]) -> None:
    log = unbroken[1]
    assert log.shape == (6, len(TRAIN_LOG_COLUMNS))
    assert log[:, TRAIN_LOG_COLUMNS.index("step")].tolist() == [1, 2, 3, 4, 5, 6]
    targets = [1 + 2, 4 + 8, 16 + 1, 2 + 4, 8 + 16, 1 + 2]
    assert log[:, TRAIN_LOG_COLUMNS.index("target_tokens")].tolist() == targets
    # Each example has six tokens more than its target.
    assert log[:, TRAIN_LOG_COLUMNS.index("example_tokens")].tolist() == [count + 12 for count in targets]
    assert log[:, TRAIN_LOG_COLUMNS.index("learning_rate")].tolist() == [np.float32(1e-3)] * 6
    assert np.isfinite(log).all()


def test_a_resumed_run_ends_with_the_same_bits(
    unbroken: tuple[Flat, np.ndarray, int], tiny: TinyModel, tmp_path: Path
) -> None:
    """Stopped between two checkpoints, and right after the last."""
    for stop, checkpoints in ((3, ["2"]), (4, ["2", "4"])):
        with pytest.raises(Broken):
            trained(tiny(seed=4).decoder, config_of(6), tmp_path, stop=stop)
        assert sorted(path.name for path in tmp_path.iterdir()) == checkpoints
    decoder = tiny(seed=4).decoder
    progress: list[tuple[float, str]] = []
    hooks = TrainHooks(tmp_path, 1e9, lambda amount, note: progress.append((amount, note)), unlimited)
    log = train(decoder, TrainData(EXAMPLES), config_of(6), hooks, device_mesh()).train_log
    assert [amount for amount, _ in progress] == [4, 1, 1] and progress[0][1] == "resumed at step 4"
    assert log.tobytes() == unbroken[1].tobytes()
    assert_same(weights(decoder), unbroken[0])


def test_a_small_task_is_learnt(tiny: TinyModel, tmp_path: Path) -> None:
    """The next token depends on the one before the last; bfloat16 arithmetic over float32 weights suffices."""
    examples = [PromptCompletion((30 + index, 40, 50 + index), 2) for index in range(6)]
    decoder = tiny(seed=5).decoder
    recipe: dict[str, Any] = {"optimizer": "adafactor", "learning_rate": 5e-2, "schedule": "cosine"}
    config = config_of(60, batch_size=6, save_steps=60, dtype=jnp.dtype("bfloat16"), **recipe)
    log = trained(decoder, config, tmp_path, examples)
    losses = log[:, TRAIN_LOG_COLUMNS.index("loss")]
    assert losses[0] > 3.0 and losses[-1] < 0.05
    assert {values.dtype for values in weights(decoder).values()} == {np.dtype(np.float32)}
    assert list(tmp_path.iterdir()) == [], "the last step needs no checkpoint"


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_gradient_accumulation_changes_no_result(tiny: TinyModel, tmp_path: Path, optimizer: str) -> None:
    """With very different lengths: each token has the same weight, regardless of its micro-batch."""
    results = []
    for accumulation_steps in (1, 2, 4):
        decoder = tiny(seed=4).decoder
        config = config_of(2, batch_size=4, gradient_accumulation_steps=accumulation_steps, optimizer=optimizer)
        log = trained(decoder, config, tmp_path / str(accumulation_steps))
        results.append((log, weights(decoder)))
    (log, expected), *others = results
    for other_log, other in others:
        np.testing.assert_allclose(other_log, log, rtol=1e-5)
        difference = np.concatenate([np.abs(values - expected[path]).ravel() for path, values in other.items()])
        # An update is about the rate (1e-3). If a gradient is near zero, its rounding determines the update's sign.
        assert np.mean(difference < 1e-6) > 0.999 and difference.max() < 4.1e-3


def test_kept_steps_are_those_of_the_shorter_run(tiny: TinyModel, tmp_path: Path) -> None:
    kept: dict[int, Flat] = {}
    examples = [PromptCompletion(tuple(range(first, first + 8)), 6) for first in range(20, 28)]  # one shape
    trained(tiny(seed=4).decoder, config_of(4, keep_steps=(1, 3, 4)), tmp_path / "long", examples, kept=kept)
    assert kept.keys() == {1, 3}, "the last step is the run's own result"
    for step in (1, 3):
        decoder = tiny(seed=4).decoder
        trained(decoder, config_of(step), tmp_path / str(step), examples)
        assert_same(kept[step], weights(decoder))


def test_validation_is_the_loss_of_each_source_at_the_configured_steps(tiny: TinyModel, tmp_path: Path) -> None:
    sources = {"short": EXAMPLES[:2], "long": EXAMPLES[3:]}
    hooks = TrainHooks(tmp_path, 1e9, lambda amount, note: None, unlimited)
    decoder = tiny(seed=4).decoder
    state = train(
        decoder, TrainData(EXAMPLES, sources), config_of(5, eval_steps=2, save_steps=100), hooks, device_mesh()
    )
    assert state.validation_log.shape == (3, 2), "after the steps 2, 4 and 5"
    for column, examples in enumerate(sources.values()):
        total, count = token_loss(decoder, pack(examples, PackedShape(2, 32, 40)), FLOAT32, remat=False)
        assert state.validation_log[-1, column] == pytest.approx(float(total) / float(count), rel=1e-5)
    assert np.isfinite(state.validation_log).all() and len(np.unique(state.validation_log)) == 6
    assert train(tiny(seed=4).decoder, TrainData(EXAMPLES), config_of(5), hooks, device_mesh()).validation_log.size == 0


# ---- what ends a run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends_the_run_and_it_resumes_to_the_same_bits(
    unbroken: tuple[Flat, np.ndarray, int], tiny: TinyModel, tmp_path: Path, number: signal.Signals
) -> None:
    handlers = [signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGINT)]

    def advance(amount: float, note: str) -> None:
        signal.raise_signal(number)  # after the first step, which saves nothing by itself

    hooks = TrainHooks(tmp_path, 1e9, advance, unlimited)
    with pytest.raises(Interrupted) as stopped:
        train(tiny(seed=4).decoder, TrainData(EXAMPLES), config_of(6), hooks, device_mesh())
    assert stopped.value.status == 128 + number
    assert [signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert [path.name for path in tmp_path.iterdir()] == ["2"], (
        "the step that was running when the signal came is finished"
    )
    decoder = tiny(seed=4).decoder
    log = trained(decoder, config_of(6), tmp_path)
    assert log.tobytes() == unbroken[1].tobytes()
    assert_same(weights(decoder), unbroken[0])


def test_a_checkpoint_is_saved_when_the_last_is_old(tiny: TinyModel, tmp_path: Path) -> None:
    checkpoints: list[list[str]] = []

    def advance(amount: float, note: str) -> None:
        checkpoints.append(sorted(path.name for path in tmp_path.iterdir()))

    hooks = TrainHooks(tmp_path, 0.0, advance, unlimited)
    train(tiny(seed=4).decoder, TrainData(EXAMPLES), config_of(4, save_steps=100), hooks, device_mesh())
    assert checkpoints == [["1"], ["1", "2"], ["2", "3"], ["2", "3"]]


def test_a_loss_worse_than_guessing_ends_the_run(tiny: TinyModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^the loss diverges: \d+\.\d\d over the steps up to \d+, .*learning_rate"):
        trained(tiny(seed=4).decoder, config_of(60, learning_rate=100.0, save_steps=100), tmp_path)


@pytest.mark.parametrize(
    "rate",
    [
        1e15,  # the next loss is not finite
        1e30,  # the next loss is finite (the squares overflow, and hidden states become zero), but not the gradient
    ],
)
def test_a_loss_or_gradient_that_is_not_finite_ends_the_run(tiny: TinyModel, tmp_path: Path, rate: float) -> None:
    with pytest.raises(ModelError) as caught:
        trained(tiny(seed=4).decoder, config_of(4, learning_rate=rate, save_steps=1), tmp_path)
    message = str(caught.value)
    assert "at step 2" in message and "\n" not in message
    assert all(
        param in message for param in ("finetune.learning_rate", "finetune.max_grad_norm", "finetune.warmup_steps")
    )
    assert str(rate) in message
    assert [path.name for path in tmp_path.iterdir()] == ["1"], "the last checkpoint before it remains"
