"""How sure a mean or a difference is: bootstrap intervals, a paired randomisation test, Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 10_000
_AT_ONCE = 500


def bootstrap_intervals(
    values: np.ndarray, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Percentile intervals of the means over resampled queries.

    The same resamples serve all columns, so intervals of differences are paired.

    Args:
        values: shape (queries,) or (queries, columns).
        level: share of the resampled means inside.
        resamples: how often to draw.
        seed: of the draws.

    Returns:
        Low and high ends, shape (2,) or (2, columns).
    """
    columns = values.reshape(len(values), -1).T
    rng = np.random.default_rng(seed)
    means = np.empty((len(columns), resamples))
    for start in range(0, resamples, _AT_ONCE):
        draws = rng.integers(0, len(values), (min(_AT_ONCE, resamples - start), len(values)), dtype=np.int32)
        for number, column in enumerate(columns):
            means[number, start : start + len(draws)] = column[draws].mean(axis=1)
    ends = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return ends.reshape(2, *values.shape[1:])


def randomisation_test(differences: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """Two-sided p-value of a mean paired difference under random exchange of the two systems, query by query.

    All exchanges are tried where there are no more of them than resamples (the test is then exact).

    Args:
        differences: one system's value minus the other's, shape (queries,).
        resamples: how many exchanges to draw.
        seed: of the draws.
    """
    differences = differences[differences != 0]  # exchanging equals changes nothing
    count = len(differences)
    if not count:
        return 1.0
    # Rounding must not make the observed assignment less extreme than itself.
    least = abs(differences.sum()) - 1e-9 * np.abs(differences).sum()
    if 2**count <= resamples:
        every = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return float(np.mean(np.abs(every @ differences) >= least))
    rng = np.random.default_rng(seed)
    extreme = 0
    for start in range(0, resamples, _AT_ONCE):
        signs = 1.0 - 2.0 * rng.integers(0, 2, (min(_AT_ONCE, resamples - start), count), dtype=np.int8)
        extreme += int((np.abs(signs @ differences) >= least).sum())
    return (extreme + 1) / (resamples + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for being several (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for position, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - position) * p_values[index]))
        corrected[index] = largest
    return corrected
