"""Means over queries, and over data sets, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_cocondenser.evaluation.significance import bootstrap_intervals


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
    samples = [np.asarray(data_set, dtype=np.float64) for data_set in data_sets]
    low, high = bootstrap_intervals(*samples, seed=seed)
    return Estimate(float(np.mean([sample.mean() for sample in samples])), float(low), float(high))
