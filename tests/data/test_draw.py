"""Where spans are placed."""

from __future__ import annotations

import numpy as np

from hf_cocondenser.data.draw import draw_anchors, item_keys, place_pieces, place_windows


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
