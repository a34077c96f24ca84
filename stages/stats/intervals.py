"""How far a difference between two models can be trusted: paired, clustered, seeded bootstrap intervals.

Questions about one claim, sentence or passage share a cluster and are right or wrong together, so whole clusters are
drawn, with replacement: the percentile bootstrap of Efron (1979) on clusters, with a ratio of sums as the mean because
clusters differ in size. For single questions, right or wrong, there is McNemar's test (1947) besides.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

COVERAGE = (0.025, 0.975)

# Clusters drawn at a time: two arrays of this many 8-byte numbers (32 MB) live at once, however large the sample.
DRAWS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class PairedDifference:
    """Two models' means over the same `n` questions, tuned minus base, and that difference's 95% interval."""

    base: float
    tuned: float
    delta: float
    delta_low: float
    delta_high: float
    n: int


@dataclass(frozen=True)
class Sample:
    """One model's numbers of each question, and how much each counts in their mean (0 or more)."""

    values: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def even(cls, values: NDArray[np.float64]) -> "Sample":
        """Numbers that all count alike."""
        return cls(values, np.ones_like(values))


def generator(seed: int, measure: str) -> np.random.Generator:
    """Random numbers of one measure's own: another measure's coming or going does not change them."""
    name = int.from_bytes(hashlib.sha256(measure.encode()).digest()[:8], "big")
    return np.random.default_rng([seed, name])


def paired_difference(
    base: Sample, tuned: Sample, clusters: NDArray[np.object_], bootstrap_samples: int, random: np.random.Generator
) -> PairedDifference:
    """The difference of the means of `tuned` and `base`, with its 95% interval from bootstrap samples of clusters.

    Entry i of `base`, `tuned` and `clusters` (n > 0 entries each) is question i as both models answered it and the name
    of its cluster. Each sample has some weight; draws in which one has none are left out. With one cluster there is
    nothing to draw from and the interval is the point itself.
    """
    parts = [_per_cluster(part, clusters) for part in (base.values * base.weights, base.weights)]
    parts += [_per_cluster(part, clusters) for part in (tuned.values * tuned.weights, tuned.weights)]
    sums = np.stack(parts)
    before, after = (_means(sums.sum(axis=1)[side]) for side in (slice(0, 2), slice(2, 4)))
    differences = _resampled_differences(sums, bootstrap_samples, random)
    low, high = np.quantile(differences[~np.isnan(differences)], COVERAGE)
    return PairedDifference(
        float(before), float(after), float(after - before), float(low), float(high), len(base.values)
    )


def mcnemar(base: NDArray[np.bool_], tuned: NDArray[np.bool_]) -> float:
    """The exact two-sided p-value of McNemar's test: whether as many answers turned right as turned wrong.

    Entry i is whether question i was answered rightly; questions count as independent of each other, whatever their
    cluster. 1 where no answer turned.
    """
    turned = int((base != tuned).sum())
    return float(binomtest(int((tuned & ~base).sum()), turned).pvalue) if turned else 1.0


def _per_cluster(values: NDArray[np.float64], clusters: NDArray[np.object_]) -> NDArray[np.float64]:
    """Each cluster's sum of `values`, in the order of the clusters' names."""
    _, cluster_of = np.unique(clusters, return_inverse=True)
    return np.bincount(cluster_of, weights=values).astype(np.float64)


def _means(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of values by sums of weights (the first axis); NaN where there is no weight."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means: NDArray[np.float64] = np.where(sums[1] > 0, sums[0] / sums[1], np.nan)
    return means


def _resampled_differences(
    sums: NDArray[np.float64], bootstrap_samples: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """The difference of the means over all questions of the clusters drawn, once per resample.

    `sums` are, of each cluster (last axis), the values and weights of the one sample and of the other.
    """
    clusters = sums.shape[1]
    rows = max(1, DRAWS_AT_ONCE // clusters)
    differences = np.empty(bootstrap_samples)
    for start in range(0, bootstrap_samples, rows):
        drawn = random.integers(clusters, size=(min(rows, bootstrap_samples - start), clusters))
        totals = np.stack([part[drawn].sum(axis=1) for part in sums])
        differences[start : start + rows] = _means(totals[2:]) - _means(totals[:2])
    return differences
