"""Lengths give nothing away, on documents of very different sizes; and where spans are placed."""

from __future__ import annotations

import numpy as np
import pytest

from hf_cocondenser.data.lengths import (
    SpanLengths,
    draw_anchors,
    item_keys,
    length_leak,
    pairs_per_epoch,
    place_pieces,
    place_windows,
    plan_pairs,
)

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


def test_anchors_are_two_different_spans_in_either_order():
    counts = np.random.default_rng(0).integers(2, 6, 5000)
    anchors = draw_anchors(np.arange(5000, dtype=np.uint64), counts)
    assert (anchors[:, 0] != anchors[:, 1]).all()
    assert (anchors >= 0).all() and (anchors < counts[:, None]).all()
    assert 0.45 < (anchors[:, 0] < anchors[:, 1]).mean() < 0.55
    of_three = anchors[counts == 3]
    combinations, seen = np.unique(of_three, axis=0, return_counts=True)
    assert len(combinations) == 6 and seen.min() > 0.7 * len(of_three) / 6


def test_windows_lie_in_the_document_and_apart():
    rng = np.random.default_rng(1)
    n = 20000
    counts = rng.integers(12, 120, n)
    cut = rng.integers(1, counts)
    starts = np.stack([np.zeros(n, int), cut], axis=1)
    ends = np.stack([cut, counts], axis=1)
    swap = rng.random(n) < 0.5
    starts[swap], ends[swap] = starts[swap, ::-1], ends[swap, ::-1]
    first = rng.integers(1, counts - 1)
    lengths = np.stack([first, rng.integers(1, counts - first + 1)], axis=1)
    placed = place_windows(np.arange(n, dtype=np.uint64), lengths, starts, ends, counts)
    ended = placed + lengths
    assert (placed >= 0).all() and (ended <= counts[:, None]).all()
    apart = (ended[:, 0] <= placed[:, 1]) | (ended[:, 1] <= placed[:, 0])
    assert apart.all()
    assert 0.45 < (placed[:, 0] < placed[:, 1]).mean() < 0.55


def test_a_short_window_lies_anywhere_inside_its_span():
    n = 5000
    whole = np.tile([[0, 100]], (n, 1)), np.tile([[40, 160]], (n, 1))
    placed = place_windows(np.arange(n, dtype=np.uint64), np.full((n, 2), 10), *whole, np.full(n, 200))
    assert set(placed[:, 0]) == set(range(31))
    assert set(placed[:, 1]) == set(range(100, 151))


def test_pieces_cover_a_document_once():
    rng = np.random.default_rng(0)
    for room, least in ((10, 3), (126, 8), (5, 5)):
        for count in rng.integers(1, 6 * room, 300):
            number = -(-count // room)
            pieces = np.arange(number)
            key = item_keys(0, int(count), np.zeros(number, np.int64), 0)
            starts, ends = place_pieces(key, pieces, np.full(number, number), np.full(number, count), room, least)
            assert starts[0] == 0 and ends[-1] == count and (starts[1:] == ends[:-1]).all()
            sizes = ends - starts
            assert sizes.max() <= room and (sizes[1:-1] == room).all()
            assert sizes.min() >= min(least, room // 2, count)


def test_cuts_move_with_the_key():
    keys = np.arange(500, dtype=np.uint64)
    zero = np.zeros(500, np.int64)
    _, ends = place_pieces(keys, zero, zero + 3, zero + 250, 100, 8)
    assert ends.min() == 50 and ends.max() == 100 and len(set(ends)) == 51


def test_keys_differ():
    documents = np.arange(100)
    every = [item_keys(s, e, documents, p) for s in range(3) for e in range(3) for p in range(3)]
    assert len(np.unique(np.concatenate(every))) == 2700
