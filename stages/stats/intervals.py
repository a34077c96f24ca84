"""Confidence intervals for the difference of two models: a paired, clustered and seeded bootstrap.

Questions about one claim, sentence or passage share a cluster, and their answers are correlated. So the percentile
bootstrap (Efron 1979) draws clusters with replacement; the mean is a ratio of sums because clusters differ in size. For
questions that are right or wrong there is also McNemar's test (1947).
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

COVERAGE = (0.025, 0.975)

# Number of clusters drawn at a time, to limit memory: two arrays of this many 8-byte numbers are 32 MB.
DRAWS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class PairedDifference:
    """Two models' means over the same `n` questions, their difference (tuned minus base), and its 95% interval."""

    base: float
    tuned: float
    delta: float
    delta_low: float
    delta_high: float
    n: int


@dataclass(frozen=True)
class Sample:
    """One model's value for each question, and the weight (0 or more) of each value in the mean."""

    values: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def unweighted(cls, values: NDArray[np.float64]) -> "Sample":
        """Values that all have weight 1."""
        return cls(values, np.ones_like(values))


def generator(seed: int, measure: str) -> np.random.Generator:
    """The random generator of one measure, so that adding or removing another measure does not change its numbers."""
    name = int.from_bytes(hashlib.sha256(measure.encode()).digest()[:8], "big")
    return np.random.default_rng([seed, name])


def paired_difference(
    base: Sample, tuned: Sample, clusters: NDArray[np.object_], bootstrap_samples: int, random: np.random.Generator
) -> PairedDifference:
    """The difference of the means of `tuned` and `base`, with its 95% interval from bootstrap samples of clusters.

    Entry i of `base`, `tuned` and `clusters` (n > 0 entries each) belongs to question i: both models' values, and the
    name of its cluster. Draws in which a model has no weight at all are left out. With a single cluster the interval is
    the difference itself.
    """
    columns = (base.values * base.weights, base.weights, tuned.values * tuned.weights, tuned.weights)
    sums = np.stack([_cluster_sums(column, clusters) for column in columns])
    before, after = (_means(sums.sum(axis=1)[rows]) for rows in (slice(0, 2), slice(2, 4)))
    differences = _resampled_differences(sums, bootstrap_samples, random)
    low, high = np.quantile(differences[~np.isnan(differences)], COVERAGE)
    return PairedDifference(
        float(before), float(after), float(after - before), float(low), float(high), len(base.values)
    )


def mcnemar(base: NDArray[np.bool_], tuned: NDArray[np.bool_]) -> float:
    """The exact two-sided p-value of McNemar's test: whether as many answers turned right as turned wrong.

    Entry i is whether question i was answered correctly. Questions count as independent, whatever their cluster. The
    p-value is 1 if no answer changed.
    """
    changed = int((base != tuned).sum())
    return float(binomtest(int((tuned & ~base).sum()), changed).pvalue) if changed else 1.0


def _cluster_sums(values: NDArray[np.float64], clusters: NDArray[np.object_]) -> NDArray[np.float64]:
    """Each cluster's sum of `values`, in the order of the clusters' names."""
    _, cluster_of = np.unique(clusters, return_inverse=True)
    return np.bincount(cluster_of, weights=values).astype(np.float64)


def _means(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted means from sums of values and sums of weights (the first axis); NaN where the weight is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means: NDArray[np.float64] = np.where(sums[1] > 0, sums[0] / sums[1], np.nan)
    return means


def _resampled_differences(
    sums: NDArray[np.float64], bootstrap_samples: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """The difference of the means over all questions of the drawn clusters, for each bootstrap sample.

    `sums` is [4, clusters]: the sums of base values, base weights, tuned values and tuned weights of each cluster.
    """
    clusters = sums.shape[1]
    rows = max(1, DRAWS_AT_ONCE // clusters)
    differences = np.empty(bootstrap_samples)
    for start in range(0, bootstrap_samples, rows):
        drawn = random.integers(clusters, size=(min(rows, bootstrap_samples - start), clusters))
        totals = np.stack([row[drawn].sum(axis=1) for row in sums])
        differences[start : start + rows] = _means(totals[2:]) - _means(totals[:2])
    return differences
