"""Means over queries, and over data sets, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 10_000
_AT_ONCE = 500


@dataclass(frozen=True)
class Estimate:
    """A mean with the ends of its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def signed(self) -> str:
        """The same as a difference."""
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"

    @property
    def rounded(self) -> str:
        """The same for counts."""
        return f"{self.mean:.0f} [{self.low:.0f}, {self.high:.0f}]"


def estimate(data_sets: Sequence[Sequence[float] | np.ndarray], seed: int = 0) -> Estimate:
    """The mean over data sets of their means over queries; the bootstrap draws each data set's queries anew.

    Args:
        data_sets: values query by query; of differences between two systems on the same queries, for a paired interval.
        seed: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    drawn = np.zeros(_RESAMPLES)
    means = []
    for data_set in data_sets:
        values = np.asarray(data_set, dtype=np.float64)
        means.append(values.mean())
        for start in range(0, _RESAMPLES, _AT_ONCE):
            rows = rng.integers(0, len(values), (min(_AT_ONCE, _RESAMPLES - start), len(values)), dtype=np.int32)
            drawn[start : start + len(rows)] += values[rows].mean(axis=1) / len(data_sets)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(np.mean(means)), float(low), float(high))
