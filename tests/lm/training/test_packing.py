"""Sequence packing: the layout on literals, and a loss that does not depend on it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.training.packing import Packed, PackedShape, pack, packed_shapes, row_length
from stages.lm.training.step import token_loss
from tests.helpers.tiny_model import TinyModel

pytestmark = pytest.mark.usefixtures("lightly_compiled", "exact")

Loss = Callable[[Packed], tuple[float, float]]


def lengths(*sizes: int) -> list[PromptCompletion]:
    """Examples of these sizes with two target tokens each; tokens are numbered consecutively."""
    tokens = iter(range(1, 300))
    return [PromptCompletion(tuple(next(tokens) for _ in range(size)), size - 2) for size in sizes]


# ---- layout


def test_two_examples_in_a_row_of_six() -> None:
    packed = pack(
        [PromptCompletion((11, 12, 13), 2), PromptCompletion((14, 15, 16), 1)], PackedShape(rows=1, length=6, targets=4)
    )
    assert {name: array.tolist() for name, array in packed._asdict().items()} == {
        "tokens_BT": [[11, 12, 14, 15, 0, 0]],
        "positions_BT": [[0, 1, 0, 1, 0, 0]],
        "ends_BT": [[2, 2, 4, 4, 5, 6]],
        "logit_positions_GC": [[1, 2, 3, 0]],
        "targets_GC": [[13, 15, 16, 0]],
        "weights_GC": [[1.0, 1.0, 1.0, 0.0]],
    }


def test_examples_with_a_common_prefix_are_one_tree() -> None:
    """The first and the last share their prompt and a target token; the second only their first token."""
    examples = [
        PromptCompletion((1, 2, 3, 5), 2),
        PromptCompletion((1, 9, 8, 7, 4), 3),
        PromptCompletion((1, 2, 3, 6), 2),
    ]
    packed = pack(examples, PackedShape(rows=1, length=8, targets=5))
    assert packed.tokens_BT.tolist() == [[1, 9, 8, 7, 1, 2, 3, 0]]
    assert packed.ends_BT.tolist() == [[4, 4, 4, 4, 7, 7, 7, 8]]
    assert packed.logit_positions_GC.tolist() == [[2, 3, 5, 6, 6]]
    assert packed.targets_GC.tolist() == [[7, 4, 3, 5, 6]]
    assert packed.weights_GC.tolist() == [[1.0, 1.0, 2.0, 1.0, 1.0]]


def test_equal_examples_count_twice() -> None:
    packed = pack([PromptCompletion((1, 2), 1)] * 2, PackedShape(rows=1, length=2, targets=1))
    assert (packed.tokens_BT.tolist(), packed.weights_GC.tolist()) == ([[1, 0]], [[2.0]])


def test_a_tree_is_no_longer_than_a_row() -> None:
    examples = [PromptCompletion((1, 2, 3, 4, last, 9), 4) for last in (5, 6, 7)]
    packed = pack(examples, PackedShape(rows=2, length=6, targets=6))
    assert packed.tokens_BT.tolist() == [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 7, 0]]


def test_logit_positions_count_through_all_rows() -> None:
    packed = pack(lengths(5, 4), PackedShape(rows=3, length=4, targets=5))
    assert packed.tokens_BT.tolist() == [[1, 2, 3, 4], [6, 7, 8, 0], [0, 0, 0, 0]]
    assert packed.ends_BT.tolist() == [[4, 4, 4, 4], [3, 3, 3, 4], [1, 2, 3, 4]]
    assert packed.logit_positions_GC.tolist() == [[2, 3, 5, 6, 0]]
    assert packed.targets_GC.tolist() == [[4, 5, 8, 9, 0]]


@pytest.mark.parametrize(
    ("sizes", "rows"),
    [
        ((4, 6, 4, 9), [[15, 16, 17, 18, 19, 20, 21, 22], [5, 6, 7, 8, 9, 1, 2, 3], [11, 12, 13, 0, 0, 0, 0, 0]]),
        ((5, 5, 5), [[1, 2, 3, 4, 6, 7, 8, 9], [11, 12, 13, 14, 0, 0, 0, 0]]),
        ((9,), [[1, 2, 3, 4, 5, 6, 7, 8]]),
    ],
)
def test_rows_are_filled_by_first_fit_decreasing(sizes: tuple[int, ...], rows: list[list[int]]) -> None:
    examples = lengths(*sizes)
    packed = pack(examples, packed_shapes([[examples]], 8)[0])
    assert packed.tokens_BT[: len(rows)].tolist() == rows


def test_steps_with_about_the_same_rows_share_a_shape() -> None:
    few = [lengths(9, 9, 9), lengths(3, 3), [PromptCompletion((1, 2, 3, 4, 5, 6, 7, 8), 1)], lengths(9, 9, 9, 9)]
    one, three, four = (PackedShape(rows, 8, targets) for rows, targets in ((1, 7), (3, 6), (4, 8)))
    assert packed_shapes([[step] for step in few], 8) == [three, one, one, four]
    assert packed_shapes([few[:2], few[2:]], 8) == [three, four], "a step has the shape of its largest micro-batch"
    many = [lengths(*[9] * count) for count in (16, 17, 18, 19)]
    assert [shape.rows for shape in packed_shapes([[step] for step in many], 8)] == [16, 18, 18, 20]


@pytest.mark.parametrize(
    ("sizes", "length"),
    [
        ((33, 12), 32),
        ((33,) * 4, 32),  # rows of any length would be as full: the shortest have the least attention
        ((50,) * 3, 64),
        ((65, 33, 49, 49), 96),
        ((41,) * 6, 128),
    ],
)
def test_rows_have_the_length_with_the_lowest_cost(sizes: tuple[int, ...], length: int) -> None:
    assert row_length([[lengths(*sizes)]]) == length


def test_groups_of_rows_have_their_own_targets() -> None:
    """Logit positions count within a group; the group with more targets determines the shape."""
    examples = lengths(9, 5, 4, 7)
    [shape] = packed_shapes([[examples]], 8, groups=2)
    assert shape == PackedShape(rows=4, length=8, targets=4, groups=2)
    packed = pack(examples, shape)
    assert packed.tokens_BT[:, 0].tolist() == [1, 19, 10, 0]
    assert packed.logit_positions_GC.tolist() == [[6, 7, 12, 13], [2, 3, 5, 6]]
    assert packed.targets_GC.tolist() == [[8, 9, 24, 25], [13, 14, 17, 18]]
    assert packed_shapes([[lengths(3)]], 8, groups=3)[0].rows == 3, "rows are a multiple of the groups"


def test_every_token_occurs_once_and_every_target_is_predicted_from_the_token_before() -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        sizes = random.integers(2, 17, 12)
        first = np.cumsum([1, *sizes])
        examples = [
            PromptCompletion(tuple(range(begin, begin + size)), int(random.integers(1, size)))
            for begin, size in zip(first[:-1].tolist(), sizes.tolist(), strict=True)
        ]
        packed = pack(examples, packed_shapes([[examples]], 16)[0])
        tokens = packed.tokens_BT.ravel()
        assert sorted(tokens[tokens > 0]) == sorted(token for example in examples for token in example.ids[:-1])
        real = packed.weights_GC > 0
        targets = [target for example in examples for target in example.ids[example.prompt_len :]]
        assert sorted(packed.targets_GC[real]) == targets
        assert np.array_equal(tokens[packed.logit_positions_GC[real]] + 1, packed.targets_GC[real])


# ---- the loss


@pytest.fixture(scope="module")
def loss(tiny: TinyModel) -> Loss:
    graph, state = nnx.split(tiny(seed=11).decoder)

    @jax.jit
    def compiled(batch: Packed) -> tuple[jax.Array, jax.Array]:
        return token_loss(nnx.merge(graph, state), batch, jnp.dtype("float32"), remat=False)

    def loss_of(batch: Packed) -> tuple[float, float]:
        total, count = compiled(batch)
        return float(total), float(count)

    return loss_of


SHAPE = PackedShape(rows=3, length=16, targets=8)


def test_packing_changes_no_loss(loss: Loss) -> None:
    examples = lengths(7, 5, 4)
    total, count = loss(pack(examples, SHAPE))
    separate = [loss(pack([example], SHAPE)) for example in examples]
    assert count == sum(example_count for _, example_count in separate) == 6.0
    assert total == pytest.approx(sum(example_total for example_total, _ in separate), rel=1e-5)
    assert total > 10.0


def test_groups_change_no_loss(loss: Loss) -> None:
    examples = lengths(9, 5, 4, 7, 16, 12)
    shapes = (PackedShape(4, 16, 12), PackedShape(4, 16, 8, groups=2), PackedShape(4, 16, 6, groups=4))
    losses = [loss(pack(examples, shape)) for shape in shapes]
    assert [count for _, count in losses] == [12.0] * 3
    assert [total for total, _ in losses] == pytest.approx([losses[0][0]] * 3, rel=1e-6)


def test_the_loss_of_a_tree_is_that_of_its_examples(loss: Loss) -> None:
    """Random forks, also inside targets, and equal examples."""
    random = np.random.default_rng(5)
    for _ in range(10):
        prefix = random.integers(10, 12, 5).tolist()
        examples = [
            PromptCompletion(
                (*prefix, *random.integers(20, 22, random.integers(1, 4)).tolist()), int(random.integers(3, 6))
            )
            for _ in range(4)
        ]
        packed = pack(examples, PackedShape(rows=3, length=16, targets=20))
        assert (packed.tokens_BT > 0).sum() < sum(len(example.ids) - 1 for example in examples)
        total, count = loss(packed)
        separate = [loss(pack([example], SHAPE)) for example in examples]
        assert count == sum(example_count for _, example_count in separate)
        assert total == pytest.approx(sum(example_total for example_total, _ in separate), rel=1e-5)


def test_the_loss_is_over_target_tokens_only(loss: Loss) -> None:
    """Each target token is predicted from all tokens before it, as in ever longer prompts with one target each."""
    ids = (30, 31, 32, 33, 34, 35)
    total, count = loss(pack([PromptCompletion(ids, 3)], SHAPE))
    steps = [loss(pack([PromptCompletion(ids[: end + 1], end)], SHAPE)) for end in (3, 4, 5)]
    assert (count, [step[1] for step in steps]) == (3.0, [1.0] * 3)
    assert total == pytest.approx(sum(step[0] for step in steps), rel=1e-5)


def test_an_example_changes_no_bit_of_the_loss_of_another_in_its_row(loss: Loss) -> None:
    def of_second(first: PromptCompletion) -> float:
        packed = pack([first, PromptCompletion((50, 51, 52, 53), 2)], SHAPE)
        assert packed.targets_GC[0, 2:4].tolist() == [52, 53]
        return loss(packed._replace(weights_GC=np.array([[0, 0, 1, 1, 0, 0, 0, 0]], np.float32)))[0]

    def of_first(second: PromptCompletion) -> float:
        packed = pack([PromptCompletion((40, 41, 42, 43, 44), 3), second], SHAPE)
        assert packed.targets_GC[0, :2].tolist() == [43, 44]
        return loss(packed._replace(weights_GC=np.array([[1, 1, 0, 0, 0, 0, 0, 0]], np.float32)))[0]

    assert len({of_second(PromptCompletion((token, 41, 42, 43, 44), 3)) for token in (40, 99, 200)}) == 1
    assert len({of_first(PromptCompletion((token, 51, 52, 53), 2)) for token in (50, 99, 200)}) == 1


def test_padding_adds_nothing(loss: Loss) -> None:
    packed = pack(lengths(7, 5), SHAPE)
    filled = packed.tokens_BT.copy()
    filled[packed.tokens_BT == 0] = 99
    elsewhere = packed._replace(tokens_BT=filled, targets_GC=np.where(packed.weights_GC > 0, packed.targets_GC, 99))
    assert loss(elsewhere) == loss(packed)
