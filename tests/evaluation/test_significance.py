"""Intervals and tests against what they should do on data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hf_cocondenser.evaluation.significance import bootstrap_intervals, holm, randomisation_test


def test_small_samples_are_exact():
    gains = np.array([0.1, 0.2, -0.05, 0.3, 0.0, 0.15, 0.1])
    expected = stats.permutation_test((gains,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert randomisation_test(gains) == pytest.approx(expected)
    assert randomisation_test(np.array([0.5] * 3)) == 2 / 8  # all signs equal, either way


def test_large_samples_agree_with_the_t_test():
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.01, 0.03):
        gains = rng.normal(shift, 0.2, 400)
        assert randomisation_test(gains) == pytest.approx(stats.ttest_1samp(gains, 0).pvalue, abs=0.02)


def test_no_difference_is_not_significant():
    assert randomisation_test(np.zeros(50)) == 1.0
    rng = np.random.default_rng(1)
    p_values = [randomisation_test(rng.normal(0, 1, 60), resamples=1000, seed=s) for s in range(200)]
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.09  # the size of the test
    assert randomisation_test(np.full(100, 0.1)) < 0.001


def test_intervals_cover_the_mean():
    rng = np.random.default_rng(2)
    samples = rng.beta(0.5, 1.0, (300, 200))
    lows, highs = bootstrap_intervals(samples, resamples=1000)
    truth = 0.5 / 1.5
    covered = np.mean((lows <= truth) & (truth <= highs))
    assert 0.88 <= covered <= 0.99
    assert np.all(lows <= samples.mean(axis=0)) and np.all(samples.mean(axis=0) <= highs)


def test_intervals_agree_with_scipy_and_are_paired():
    values = np.random.default_rng(3).random(150)
    low, high = bootstrap_intervals(values)
    reference = stats.bootstrap((values,), np.mean, method="percentile", rng=0).confidence_interval
    assert (low, high) == pytest.approx(tuple(reference), abs=0.003)
    both = bootstrap_intervals(np.stack([values, values + 1], axis=1))
    np.testing.assert_allclose(both[:, 1] - both[:, 0], 1.0)


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
