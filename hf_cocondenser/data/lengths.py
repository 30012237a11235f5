"""Lengths and places of spans that give nothing away.

The two lengths of a pair are drawn first, independently of each other, and the document is chosen after them, among
those long enough. So a span's length says nothing about its sibling's, although documents differ in length; cutting
every document as its size allows would make siblings known by their lengths. The spans themselves
lie anywhere, apart from each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hf_cocondenser.data.hashing import UInt64, derive_key, uniform

Integers = npt.NDArray[np.int64]
_LENGTHS, _CHOICES = 1, 2  # the streams of random numbers of an epoch's plan


@dataclass(frozen=True)
class SpanLengths:
    """The distribution of span lengths: `most` tokens, but a share uniform from `least` to `most`."""

    least: int
    most: int
    short_share: float

    def draw(self, uniforms: npt.NDArray[np.float64]) -> Integers:
        """Turn uniform numbers into lengths."""
        if self.short_share == 0:
            return np.full(uniforms.shape, self.most, np.int64)
        short = self.least + (uniforms / self.short_share * (self.most - self.least + 1)).astype(np.int64)
        return np.where(uniforms < self.short_share, short, self.most)

    def pair_tail(self) -> npt.NDArray[np.float64]:
        """Return for each number of tokens up to 2 * `most` how likely two spans need that many or more."""
        one = np.zeros(self.most + 1)
        one[self.least :] = self.short_share / (self.most - self.least + 1)
        one[self.most] += 1 - self.short_share
        return np.convolve(one, one)[::-1].cumsum()[::-1]


def pairs_per_epoch(token_counts: Integers, lengths: SpanLengths) -> int:
    """Return how many pairs of these lengths can be drawn from the documents, at most one from each."""
    tail = lengths.pair_tail()
    needed = np.arange(len(tail))
    enough = len(token_counts) - np.searchsorted(np.sort(token_counts), needed)
    scarce = (enough < len(token_counts)) & (tail > 1e-9)
    # Drawn lengths need now and then more long documents than on average: one standard deviation is kept back.
    possible = (enough - np.sqrt(enough * (1 - tail).clip(0)))[scarce] / tail[scarce]
    return int(min(possible.min(initial=np.inf), len(token_counts)))


def plan_pairs(
    token_counts: Integers, lengths: SpanLengths, number: int, seed: int, epoch: int
) -> tuple[Integers, Integers]:
    """Draw the lengths of `number` pairs and a document for each, every document once at most.

    Args:
        token_counts (documents): tokens of each document.

    Returns:
        documents (pairs), indices into `token_counts`, and lengths (pairs, 2). Neither depends on a pair's place.
    """
    slots = np.arange(number, dtype=np.uint64)
    drawn = lengths.draw(uniform(derive_key(seed, epoch, _LENGTHS, slots)[:, None], [[0, 1]]))
    sums = drawn.sum(axis=1)
    by_need, by_size = np.argsort(-sums, kind="stable"), np.argsort(-token_counts, kind="stable")
    enough = np.searchsorted(-token_counts[by_size], -sums[by_need], side="right").tolist()
    choices = uniform(derive_key(seed, epoch, _CHOICES), slots).tolist()
    # A shuffle in which each pair, the one with the greatest need first, picks among the documents long enough.
    pool = by_size.tolist()
    for place, (limit, choice) in enumerate(zip(enough, choices, strict=True)):
        other = place + int(choice * (max(limit, place + 1) - place))
        pool[place], pool[other] = pool[other], pool[place]
    documents = np.empty(number, np.int64)
    documents[by_need] = pool[:number]
    # Rarely the long documents run out; the longest that is left then gives shorter spans.
    short = sums > token_counts[documents]
    drawn[short] = np.minimum(drawn[short], token_counts[documents[short], None] // 2)
    return documents, drawn


def length_leak(lengths: Integers, batch_documents: int = 128) -> dict[str, float]:
    """Measure what a model could win by looking at lengths alone.

    In batches of `batch_documents` documents (twice as many spans) the other span nearest in length, ties broken at
    random, is taken for the sibling.

    Args:
        lengths (documents, 2): lengths of the drawn spans.

    Returns:
        `accuracy` of that guess, its `chance`, and the `correlation` of siblings' lengths.
    """
    spans = 2 * min(batch_documents, len(lengths))
    hits, total = 0, 0
    for first in range(0, len(lengths) - spans // 2 + 1, spans // 2):
        batch = lengths[first : first + spans // 2].reshape(-1)
        distances = np.abs(batch[:, None] - batch[None, :]).astype(np.float64)
        distances += uniform(derive_key(first), np.arange(spans * spans, dtype=np.uint64)).reshape(spans, spans)
        np.fill_diagonal(distances, np.inf)
        hits += int((distances.argmin(axis=1) == np.arange(spans) ^ 1).sum())
        total += spans
    both = np.concatenate([lengths, lengths[:, ::-1]])
    varied = len(both) > 1 and both.std() > 0
    correlation = float(np.corrcoef(both.T)[0, 1]) if varied else 0.0
    return {"accuracy": hits / max(total, 1), "chance": 1 / max(spans - 1, 1), "correlation": correlation}


def draw_anchors(keys: UInt64, span_counts: Integers) -> Integers:
    """Choose two different spans of each document, in random order: (documents, 2) indices."""
    first = (uniform(keys, 0) * span_counts).astype(np.int64)
    second = (uniform(keys, 1) * (span_counts - 1)).astype(np.int64)
    return np.stack([first, second + (second >= first)], axis=1)


def place_windows(
    keys: UInt64, lengths: Integers, anchor_starts: Integers, anchor_ends: Integers, token_counts: Integers
) -> Integers:
    """Place a window of each length in its document, over its anchor span, the two apart from each other.

    A window shorter than its span lies anywhere inside it, a longer one anywhere around it. Where two windows would
    overlap, both are placed anew, uniformly among all places that keep them apart.

    Args:
        keys (documents), lengths (documents, 2), anchor_starts and anchor_ends (documents, 2).
        token_counts (documents): tokens of the document; at least the sum of the two lengths.

    Returns:
        starts (documents, 2).
    """
    slack = (anchor_ends - anchor_starts) - lengths
    low, high = anchor_starts + np.minimum(slack, 0), anchor_starts + np.maximum(slack, 0)
    places = np.stack([uniform(keys, 2), uniform(keys, 3)], axis=1)
    starts = low + (places * (high - low + 1)).astype(np.int64)
    starts = np.clip(starts, 0, token_counts[:, None] - lengths)

    earlier = (anchor_starts[:, 1] < anchor_starts[:, 0]).astype(np.int64)  # which of the two windows
    rows = np.arange(len(lengths))
    overlap = starts[rows, earlier] + lengths[rows, earlier] > starts[rows, 1 - earlier]
    gaps = np.sort((places * (token_counts - lengths.sum(axis=1) + 1)[:, None]).astype(np.int64), axis=1)
    apart = np.empty_like(starts)
    apart[rows, earlier] = gaps[:, 0]
    apart[rows, 1 - earlier] = gaps[:, 1] + lengths[rows, earlier]
    return np.where(overlap[:, None], apart, starts)


def place_pieces(
    keys: UInt64, pieces: Integers, piece_counts: Integers, token_counts: Integers, room: int, least: int
) -> tuple[Integers, Integers]:
    """Return where the given piece of each document starts and ends when it is cut into `piece_counts` pieces.

    The pieces are `room` tokens long but for the first and last; how the rest is shared between these two changes with
    the key, so that the cuts fall elsewhere in every epoch. Neither gets fewer than `least` tokens if that can be.
    """
    least = min(least, room // 2)
    rest = token_counts - (piece_counts - 1) * room  # tokens of the last piece if the first is full
    low, high = np.maximum(least - rest, 0), np.minimum(room - rest, room - least)
    shift = low + (uniform(keys, 0) * (np.maximum(high - low, 0) + 1)).astype(np.int64)
    shift = np.where(piece_counts > 1, np.clip(shift, 0, room - rest), room - rest)
    starts = np.maximum(pieces * room - shift, 0)
    ends = np.minimum((pieces + 1) * room - shift, token_counts)
    starts, ends = np.where(piece_counts > 1, starts, 0), np.where(piece_counts > 1, ends, token_counts)
    return starts, ends


def item_keys(seed: int, epoch: int, documents: Integers, position: npt.ArrayLike) -> UInt64:
    """Return the key of a span: a function of seed, epoch, document and the span's place in its item."""
    return derive_key(seed, epoch, documents.astype(np.uint64), np.asarray(position, np.uint64))
