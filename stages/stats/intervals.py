"""How far a difference between two models can be trusted: paired, clustered, seeded bootstrap intervals.

Questions about one claim, sentence or passage share a cluster and are right or wrong together, so whole clusters are
drawn, with replacement: the percentile bootstrap of Efron (1979) on clusters, with a ratio of sums as the mean because
clusters differ in size.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COVERAGE = (0.025, 0.975)

# Clusters drawn at a time: three arrays of this many 8-byte numbers (48 MB) live at once, however large the sample.
DRAWS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Difference:
    """Two models' means over the same `n` questions, tuned minus base, and that difference's 95% interval."""

    base: float
    tuned: float
    delta: float
    delta_low: float
    delta_high: float
    n: int


def generator(seed: int, measure: str) -> np.random.Generator:
    """Random numbers of one measure's own: another measure's coming or going does not change them."""
    name = int.from_bytes(hashlib.sha256(measure.encode()).digest()[:8], "big")
    return np.random.default_rng([seed, name])


def paired_difference(
    base: NDArray[np.float64],
    tuned: NDArray[np.float64],
    clusters: NDArray[np.object_],
    resamples: int,
    random: np.random.Generator,
) -> Difference:
    """The difference of the means of `tuned` and `base`, with its 95% interval from `resamples` draws of clusters.

    Entry i of `base`, `tuned` and `clusters` (n > 0 entries each) is question i as both models answered it and the name
    of its cluster. With one cluster there is nothing to draw from and the interval is the point itself.
    """
    sums, counts = _per_cluster(tuned - base, clusters)
    low, high = np.quantile(_resampled_means(sums, counts, resamples, random), COVERAGE)
    return Difference(
        base=float(base.mean()),
        tuned=float(tuned.mean()),
        delta=float(sums.sum() / counts.sum()),
        delta_low=float(low),
        delta_high=float(high),
        n=len(base),
    )


def _per_cluster(
    values: NDArray[np.float64], clusters: NDArray[np.object_]
) -> tuple[NDArray[np.number], NDArray[np.number]]:
    """Each cluster's sum and count of `values`, in the order of the clusters' names."""
    _, cluster_of = np.unique(clusters, return_inverse=True)
    return np.bincount(cluster_of, weights=values), np.bincount(cluster_of)


def _resampled_means(
    sums: NDArray[np.number], counts: NDArray[np.number], resamples: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """The mean over all questions of the clusters drawn, once per resample."""
    clusters = len(sums)
    rows = max(1, DRAWS_AT_ONCE // clusters)
    means = np.empty(resamples)
    for start in range(0, resamples, rows):
        drawn = random.integers(clusters, size=(min(rows, resamples - start), clusters))
        means[start : start + rows] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return means
