"""Bootstrap intervals against closed forms, scipy, simulated coverage and relations that must hold."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from stages.stats import intervals
from stages.stats.intervals import PairedDifference, Sample, generator, mcnemar, paired_difference


def compared(
    base: NDArray[np.float64], tuned: NDArray[np.float64], clusters: NDArray[np.object_], bootstrap_samples: int = 1000
) -> PairedDifference:
    return paired_difference(
        Sample.unweighted(base), Sample.unweighted(tuned), clusters, bootstrap_samples, generator(1, "test")
    )


def interval(
    values: NDArray[np.float64], clusters: NDArray[np.object_], bootstrap_samples: int = 1000
) -> PairedDifference:
    return compared(np.zeros(len(values)), values, clusters, bootstrap_samples)


def clustered(random: np.random.Generator, clusters: int) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
    """Values of mean 0 in clusters of 1 to 8 that share most of their deviation."""
    sizes = random.integers(1, 9, size=clusters)
    names = np.repeat([f"c{i}" for i in range(clusters)], sizes).astype(object)
    return np.repeat(random.normal(size=clusters), sizes) + random.normal(scale=0.3, size=len(names)), names


def test_two_clusters_have_the_interval_that_can_be_listed() -> None:
    # Draws of two clusters from (0, 1): means 0, 0.5, 0.5, 1, so each tail holds a quarter.
    result = interval(np.array([0.0, 1.0]), np.array(["a", "b"], dtype=object))
    assert result == PairedDifference(base=0.0, tuned=0.5, delta=0.5, delta_low=0.0, delta_high=1.0, n=2)


def test_a_large_cluster_weighs_by_its_questions() -> None:
    # Draws: aa (0), bb (1), ab and ba (1 of 4 questions): the mean is over questions, not over clusters.
    result = interval(np.array([0.0, 0.0, 0.0, 1.0]), np.array(["a", "a", "a", "b"], dtype=object))
    assert (result.delta, result.delta_low, result.delta_high, result.n) == (0.25, 0.0, 1.0, 4)


def test_delta_is_tuned_minus_base() -> None:
    base, tuned = np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0, 0.0])
    result = compared(base, tuned, np.array(list("abcd"), dtype=object))
    assert (result.base, result.tuned, result.delta) == (0.5, 0.25, -0.25)
    assert result.delta_low < -0.25 < result.delta_high == 0.0


def test_one_cluster_gives_the_point() -> None:
    result = interval(np.array([0.0, 1.0, 1.0]), np.array(["a"] * 3, dtype=object))
    assert result.delta_low == result.delta == result.delta_high == 2 / 3


def test_no_difference_gives_exactly_zero() -> None:
    values = np.random.default_rng(0).random(50)
    names = np.array([f"c{i % 7}" for i in range(50)], dtype=object)
    result = compared(values, values, names, 300)
    assert (result.delta, result.delta_low, result.delta_high) == (0.0, 0.0, 0.0)


def test_standard_error_is_the_closed_form_for_independent_questions() -> None:
    values = np.random.default_rng(0).normal(loc=0.2, size=400)
    result = interval(values, np.array([f"c{i}" for i in range(400)], dtype=object), bootstrap_samples=20_000)
    normal = 1.959964 * values.std() / np.sqrt(400)
    assert result.delta_high - result.delta_low == pytest.approx(2 * normal, rel=0.03)
    assert result.delta_low == pytest.approx(values.mean() - normal, abs=0.05 * normal)


def test_agrees_with_the_bootstrap_of_scipy() -> None:
    values, names = clustered(np.random.default_rng(3), 80)
    unique = np.unique(names)
    sums = np.array([values[names == name].sum() for name in unique])
    counts = np.array([(names == name).sum() for name in unique])

    def ratio(sums: NDArray[np.float64], counts: NDArray[np.int64], axis: int) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = sums.sum(axis=axis) / counts.sum(axis=axis)
        return mean

    judge = stats.bootstrap(
        (sums, counts), ratio, paired=True, n_resamples=20_000, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    result = interval(values, names, bootstrap_samples=20_000)
    width = judge.high - judge.low
    assert result.delta_low == pytest.approx(judge.low, abs=0.03 * width)
    assert result.delta_high == pytest.approx(judge.high, abs=0.03 * width)


def test_covers_the_truth_at_the_nominal_rate_because_of_its_clusters() -> None:
    random = np.random.default_rng(11)
    covered = covered_without_clusters = 0
    for _ in range(300):
        values, names = clustered(random, 80)
        result = interval(values, names, bootstrap_samples=400)
        covered += result.delta_low <= 0 <= result.delta_high
        alone = interval(values, np.arange(len(values)).astype(object), bootstrap_samples=400)
        covered_without_clusters += alone.delta_low <= 0 <= alone.delta_high
    assert 0.92 <= covered / 300 <= 0.98
    assert covered_without_clusters / 300 < 0.8


def test_order_of_questions_does_not_matter() -> None:
    values, names = clustered(np.random.default_rng(4), 30)
    values = np.round(values)  # whole numbers add up to the same sum in any order
    order = np.random.default_rng(6).permutation(len(values))
    assert interval(values, names) == interval(values[order], names[order])


def test_asking_every_question_twice_changes_nothing() -> None:
    values, names = clustered(np.random.default_rng(4), 30)
    values = np.round(values)
    once, twice = interval(values, names), interval(np.tile(values, 2), np.tile(names, 2))
    assert (once.delta_low, once.delta, once.delta_high) == (twice.delta_low, twice.delta, twice.delta_high)
    assert twice.n == 2 * once.n


def test_the_number_drawn_at_once_does_not_change_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    values, names = clustered(np.random.default_rng(4), 30)
    whole = interval(values, names)
    monkeypatch.setattr(intervals, "DRAWS_AT_ONCE", 77)
    assert interval(values, names) == whole
    monkeypatch.setattr(intervals, "DRAWS_AT_ONCE", 1)
    assert interval(values, names) == whole


def test_random_numbers_depend_only_on_the_seed_and_the_name() -> None:
    def drawn(seed: int, name: str) -> list[int]:
        return generator(seed, name).integers(1_000_000, size=4).tolist()

    assert drawn(1, "a") == drawn(1, "a")
    assert drawn(1, "a") != drawn(2, "a")
    assert drawn(1, "a") != drawn(1, "b")


def test_a_question_without_weight_counts_for_one_model_and_not_for_the_other() -> None:
    # Base: 1 of 2; tuned: 0 of 1, as its second question does not count.
    base = Sample(np.array([0.0, 1.0]), np.array([1.0, 1.0]))
    tuned = Sample(np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    result = paired_difference(base, tuned, np.array(["a", "b"], dtype=object), 1000, generator(1, "test"))
    # Draws: aa (0 and 0), ab and ba (0 minus 1/2), bb (nothing counts for tuned: left out).
    assert result == PairedDifference(base=0.5, tuned=0.0, delta=-0.5, delta_low=-0.5, delta_high=0.0, n=2)


def test_integer_weights_equal_repeated_questions() -> None:
    random = np.random.default_rng(4)
    values, names = clustered(random, 30)
    values, often = np.round(values), random.integers(0, 4, len(values))
    weighted = Sample(values, often.astype(float))
    none = Sample.unweighted(np.zeros(len(values)))
    one = paired_difference(none, weighted, names, 500, generator(1, "test"))
    many = Sample.unweighted(np.repeat(values, often))
    nothing = Sample.unweighted(np.zeros(often.sum()))
    kept = np.isin(names, np.repeat(names, often))
    other = paired_difference(nothing, many, np.repeat(names, often), 500, generator(1, "test"))
    assert kept.all(), "otherwise other clusters would be drawn"
    assert (one.delta, one.delta_low, one.delta_high) == (other.delta, other.delta_low, other.delta_high)


@pytest.mark.parametrize(("right", "wrong"), [(0, 0), (1, 0), (6, 1), (3, 3), (10, 25)])
def test_mcnemar_is_the_binomial_tail_of_the_answers_that_turned(right: int, wrong: int) -> None:
    base = np.array([False] * right + [True] * wrong + [True] * 7 + [False] * 5)
    tuned = np.array([True] * right + [False] * wrong + [True] * 7 + [False] * 5)
    turned = right + wrong
    tail = sum(math.comb(turned, count) for count in range(min(right, wrong) + 1)) / 2**turned
    assert mcnemar(base, tuned) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(tuned, base) == mcnemar(base, tuned)
