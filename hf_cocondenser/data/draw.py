"""Where spans lie in their document: anywhere, apart from each other, in random order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hf_cocondenser.data.hashing import UInt64, derive_key, uniform

Integers = npt.NDArray[np.int64]


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
