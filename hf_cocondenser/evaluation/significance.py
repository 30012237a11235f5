"""How sure a mean or a difference is: bootstrap intervals, a paired randomisation test, Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 10_000
_NUMBERS_AT_ONCE = 5_000_000


def bootstrap_intervals(
    *values: np.ndarray, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Percentile intervals of the means over resampled queries.

    The same resamples serve all columns, so intervals of differences are paired. Of several data sets it is the interval
    of the mean of their means, each one's queries drawn anew.

    Args:
        values: of each data set, shape (queries,) or (queries, columns).
        level: share of the resampled means inside.
        resamples: how often to draw.
        seed: of the draws.

    Returns:
        Low and high ends, shape (2,) or (2, columns).
    """
    from scipy.stats import bootstrap

    def mean(*samples: np.ndarray, axis: int) -> np.ndarray:
        return sum(sample.mean(axis=axis) for sample in samples) / len(samples)

    # Of a single query there is but one resample, which scipy refuses to draw.
    samples = [np.repeat(sample, 2, axis=0) if len(sample) == 1 else sample for sample in values]
    found = bootstrap(
        samples,
        mean,
        n_resamples=resamples,
        batch=max(1, _NUMBERS_AT_ONCE // max(sample.size for sample in samples)),
        axis=0,
        vectorized=True,
        confidence_level=level,
        method="percentile",
        rng=seed,
    )
    return np.array([found.confidence_interval.low, found.confidence_interval.high])


def randomisation_test(differences: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """Two-sided p-value of a mean paired difference under random exchange of the two systems, query by query.

    All exchanges are tried where there are no more of them than resamples (the test is then exact).

    Args:
        differences: one system's value minus the other's, shape (queries,).
        resamples: how many exchanges to draw.
        seed: of the draws.
    """
    from scipy.stats import permutation_test

    differences = differences[differences != 0]  # exchanging equals changes nothing
    if len(differences) < 2:
        return 1.0
    found = permutation_test(
        (differences,),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, _NUMBERS_AT_ONCE // len(differences)),
        rng=seed,
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for being several (Holm 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(factors * np.asarray(p_values)[order]), 1)
    return corrected.tolist()
