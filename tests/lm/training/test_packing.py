"""Examples packed into rows: the layout on literals, and a loss that knows nothing of it."""

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
    """Examples of these sizes with two target tokens; tokens are numbered through."""
    tokens = iter(range(1, 300))
    return [PromptCompletion(tuple(next(tokens) for _ in range(size)), size - 2) for size in sizes]


# ---- layout


def test_two_examples_in_a_row_of_six() -> None:
    packed = pack(
        [PromptCompletion((11, 12, 13), 2), PromptCompletion((14, 15, 16), 1)], PackedShape(rows=1, length=6, targets=4)
    )
    assert {name: array.tolist() for name, array in packed._asdict().items()} == {
        "tokens_RT": [[11, 12, 14, 15, 0, 0]],
        "positions_RT": [[0, 1, 0, 1, 0, 0]],
        "ends_RT": [[2, 2, 4, 4, 5, 6]],
        "predictors_GP": [[1, 2, 3, 0]],
        "targets_GP": [[13, 15, 16, 0]],
        "weights_GP": [[1.0, 1.0, 1.0, 0.0]],
    }


def test_examples_that_begin_alike_are_one_tree() -> None:
    """The first two have a prompt and a target token in common; the third only a first token."""
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
    alike = [PromptCompletion((1, 2, 3, 4, last, 9), 4) for last in (5, 6, 7)]
    packed = pack(alike, PackedShape(rows=2, length=6, targets=6))
    assert packed.tokens_BT.tolist() == [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 7, 0]]


def test_places_are_counted_through_all_rows() -> None:
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
def test_the_longest_first_into_the_first_row_with_room(sizes: tuple[int, ...], rows: list[list[int]]) -> None:
    examples = lengths(*sizes)
    packed = pack(examples, packed_shapes([[examples]], 8)[0])
    assert packed.tokens_BT[: len(rows)].tolist() == rows


def test_steps_of_about_as_many_rows_share_a_shape() -> None:
    few = [lengths(9, 9, 9), lengths(3, 3), [PromptCompletion((1, 2, 3, 4, 5, 6, 7, 8), 1)], lengths(9, 9, 9, 9)]
    one, three, four = (PackedShape(rows, 8, predictions) for rows, predictions in ((1, 7), (3, 6), (4, 8)))
    assert packed_shapes([[step] for step in few], 8) == [three, one, one, four]
    assert packed_shapes([few[:2], few[2:]], 8) == [three, four], "micro-batches of a step have its largest's"
    many = [lengths(*[9] * count) for count in (16, 17, 18, 19)]
    assert [shape.rows for shape in packed_shapes([[step] for step in many], 8)] == [16, 18, 18, 20]


@pytest.mark.parametrize(
    ("sizes", "length"),
    [
        ((33, 12), 32),
        ((33,) * 4, 32),  # rows of any length would be as full: the shortest attend to least
        ((50,) * 3, 64),
        ((65, 33, 49, 49), 96),
        ((41,) * 6, 128),
    ],
)
def test_rows_have_the_length_that_takes_least_time(sizes: tuple[int, ...], length: int) -> None:
    assert row_length([[lengths(*sizes)]]) == length


def test_groups_of_rows_have_their_own_predictions() -> None:
    """Places are counted within a group; the fuller group says how many there are."""
    examples = lengths(9, 5, 4, 7)
    [shape] = packed_shapes([[examples]], 8, groups=2)
    assert shape == PackedShape(rows=4, length=8, targets=4, groups=2)
    packed = pack(examples, shape)
    assert packed.tokens_BT[:, 0].tolist() == [1, 19, 10, 0]
    assert packed.logit_positions_GC.tolist() == [[6, 7, 12, 13], [2, 3, 5, 6]]
    assert packed.targets_GC.tolist() == [[8, 9, 24, 25], [13, 14, 17, 18]]
    assert packed_shapes([[lengths(3)]], 8, groups=3)[0].rows == 3, "rows are a multiple of the groups"


def test_every_token_is_there_once_and_every_target_is_predicted_from_the_token_before() -> None:
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

    def of(batch: Packed) -> tuple[float, float]:
        total, count = compiled(batch)
        return float(total), float(count)

    return of


SHAPE = PackedShape(rows=3, length=16, targets=8)


def test_packed_is_unpacked(loss: Loss) -> None:
    examples = lengths(7, 5, 4)
    total, count = loss(pack(examples, SHAPE))
    alone = [loss(pack([example], SHAPE)) for example in examples]
    assert count == sum(one[1] for one in alone) == 6.0
    assert total == pytest.approx(sum(one[0] for one in alone), rel=1e-5)
    assert total > 10.0


def test_in_groups_is_in_one(loss: Loss) -> None:
    examples = lengths(9, 5, 4, 7, 16, 12)
    shapes = (PackedShape(4, 16, 12), PackedShape(4, 16, 8, groups=2), PackedShape(4, 16, 6, groups=4))
    found = [loss(pack(examples, shape)) for shape in shapes]
    assert [count for _, count in found] == [12.0] * 3
    assert [total for total, _ in found] == pytest.approx([found[0][0]] * 3, rel=1e-6)


def test_a_tree_of_examples_is_the_examples_one_by_one(loss: Loss) -> None:
    """Random forks, also inside targets, and equal examples."""
    random = np.random.default_rng(5)
    for _ in range(10):
        trunk = random.integers(10, 12, 5).tolist()
        examples = [
            PromptCompletion(
                (*trunk, *random.integers(20, 22, random.integers(1, 4)).tolist()), int(random.integers(3, 6))
            )
            for _ in range(4)
        ]
        packed = pack(examples, PackedShape(rows=3, length=16, targets=20))
        assert (packed.tokens_BT > 0).sum() < sum(len(example.ids) - 1 for example in examples)
        total, count = loss(packed)
        alone = [loss(pack([example], SHAPE)) for example in examples]
        assert count == sum(one[1] for one in alone)
        assert total == pytest.approx(sum(one[0] for one in alone), rel=1e-5)


def test_the_loss_is_that_of_the_target_alone(loss: Loss) -> None:
    """Per target token, from all that stands before: the sum over ever longer prompts with one target each."""
    ids = (30, 31, 32, 33, 34, 35)
    total, count = loss(pack([PromptCompletion(ids, 3)], SHAPE))
    steps = [loss(pack([PromptCompletion(ids[: end + 1], end)], SHAPE)) for end in (3, 4, 5)]
    assert (count, [step[1] for step in steps]) == (3.0, [1.0] * 3)
    assert total == pytest.approx(sum(step[0] for step in steps), rel=1e-5)


def test_another_segment_changes_no_bit_of_a_segment_s_loss(loss: Loss) -> None:
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
