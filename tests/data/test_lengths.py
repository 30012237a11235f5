"""Lengths give nothing away, on documents of very different sizes."""

from __future__ import annotations

import numpy as np
import pytest

from hf_cocondenser.data.lengths import SpanLengths, length_leak, pairs_per_epoch, plan_pairs

UNIFORM = SpanLengths(6, 62, 1.0)


@pytest.fixture(scope="module")
def sizes() -> np.ndarray:
    """Token counts of documents: many short, some very long."""
    return np.random.default_rng(0).lognormal(4.5, 0.9, 8000).astype(np.int64).clip(12)


def tolerance(pairs: int, chance: float) -> float:
    return 4.5 * (chance / (2 * pairs)) ** 0.5


@pytest.mark.parametrize("lengths", [UNIFORM, SpanLengths(8, 80, 0.1), SpanLengths(4, 40, 0.5)])
def test_no_leak(sizes, lengths):
    roomy = sizes[sizes >= 2 * lengths.least]
    number = pairs_per_epoch(roomy, lengths)
    documents, drawn = plan_pairs(roomy, lengths, number, seed=1, epoch=0)
    leak = length_leak(drawn)
    assert abs(leak["accuracy"] - leak["chance"]) < tolerance(number, leak["chance"])
    assert abs(leak["correlation"]) < 4.5 / number**0.5
    assert (drawn.sum(axis=1) <= roomy[documents]).all()
    assert drawn.min() >= 1 and drawn.max() <= lengths.most


def test_the_measure_sees_a_leak(sizes):
    """Cutting documents by their size, which is what must not happen, is found out."""
    rng = np.random.default_rng(1)
    halves = np.minimum(sizes // 2, 62)
    same = length_leak(np.stack([halves, halves], axis=1))
    assert same["accuracy"] > 3 * same["chance"] and same["correlation"] > 0.99
    capped = length_leak(rng.integers(6, halves[:, None] + 1, (len(sizes), 2)))
    assert capped["accuracy"] > capped["chance"] + tolerance(len(sizes), capped["chance"])
    assert capped["correlation"] > 0.1


def test_lengths_are_those_asked_for(sizes):
    number = pairs_per_epoch(sizes, UNIFORM)
    _, drawn = plan_pairs(sizes, UNIFORM, number, seed=0, epoch=0)
    counts = np.bincount(drawn.reshape(-1), minlength=63)
    expected = 2 * number / 57
    assert counts[:6].sum() == 0
    assert np.abs(counts[6:] - expected).max() < 5 * expected**0.5
    mostly = SpanLengths(8, 80, 0.1).draw(np.random.default_rng(0).random(20000))
    assert abs((mostly == 80).mean() - 0.9 - 0.1 / 73) < 0.01


def test_short_documents_are_used(sizes):
    """Most documents have no room for two spans of the greatest length, and yet give pairs."""
    assert (sizes >= 2 * UNIFORM.most).mean() < 0.45
    assert pairs_per_epoch(sizes, UNIFORM) > 0.9 * len(sizes)


def test_every_document_once_at_most_and_a_new_plan_each_epoch(sizes):
    number = pairs_per_epoch(sizes, UNIFORM)
    first, lengths = plan_pairs(sizes, UNIFORM, number, seed=3, epoch=0)
    again, same = plan_pairs(sizes, UNIFORM, number, seed=3, epoch=0)
    other, _ = plan_pairs(sizes, UNIFORM, number, seed=3, epoch=1)
    assert len(np.unique(first)) == number
    assert np.array_equal(first, again) and np.array_equal(lengths, same)
    assert (first == other).mean() < 0.05


def test_any_part_of_an_epoch_is_without_leak(sizes):
    """A sampler that does not shuffle must not get batches of alike documents."""
    number = pairs_per_epoch(sizes, UNIFORM)
    documents, drawn = plan_pairs(sizes, UNIFORM, number, seed=0, epoch=0)
    thirds = np.array_split(np.arange(number), 3)
    assert np.ptp([drawn[part].mean() for part in thirds]) < 2
    assert np.ptp([np.log(sizes[documents[part]]).mean() for part in thirds]) < 0.15


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([200] * 10, 10), ([123], 0), ([124], 1), ([5] * 10, 0), ([], 0)],
)
def test_pairs_per_epoch(counts, expected):
    lengths = SpanLengths(62, 62, 0.0) if counts else UNIFORM
    assert pairs_per_epoch(np.array(counts, np.int64), lengths) == expected


def test_a_shortage_gives_shorter_spans_not_an_error():
    counts = np.array([40] * 5 + [12] * 45)
    documents, drawn = plan_pairs(counts, SpanLengths(6, 20, 1.0), 50, seed=0, epoch=0)
    assert len(np.unique(documents)) == 50
    assert (drawn.sum(axis=1) <= counts[documents]).all() and drawn.min() >= 6
