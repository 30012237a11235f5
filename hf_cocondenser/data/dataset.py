"""The training items of a span folder, drawn anew in every epoch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from hf_cocondenser.data.lengths import (
    Integers,
    SpanLengths,
    draw_anchors,
    item_keys,
    pairs_per_epoch,
    place_pieces,
    place_windows,
    plan_pairs,
)
from hf_cocondenser.data.store import SpanStore, read_manifest
from hf_cocondenser.errors import InputError

logger = logging.getLogger(__name__)

SPLITS = ("train", "evaluation", "all")
_DRAW = 1 << 20  # the position whose key draws an item, apart from those of its spans' masks


class SpanDataset(Dataset):
    """Items for coCondenser (two spans of a document) or Condenser pre-training (a stretch of one).

    Every item is a function of (seed, epoch, index) alone. It is a dictionary with `spans` (arrays of token ids, no
    special tokens), `document_id` (the document's row in the folder), `keys` (one per span, the seed of its mask) and,
    where the folder has them, `word_starts` (like `spans`).

    Args:
        folder: what `prepare` wrote.
        pairs: two spans per item, from documents with two stored spans, each document once an epoch at most; else one
            span per item, as long as `max_length` allows, together covering every document.
        seed: of the drawing and the masks.
        max_length: tokens of a row in the model, its two special tokens included.
        split: `train`, the documents not set aside at prepare time; `evaluation`, those that are; or `all`.
        target_tokens, min_tokens, short_share: other span lengths for pairs than the folder names.

    Raises:
        InputError: the folder is none, or has no documents to draw from.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        pairs: bool,
        seed: int = 0,
        max_length: int = 128,
        split: str = "train",
        target_tokens: int | None = None,
        min_tokens: int | None = None,
        short_share: float | None = None,
    ) -> None:
        if split not in SPLITS:
            raise InputError(f"The split is '{split}'; choose one of {', '.join(SPLITS)}.")
        self.manifest = read_manifest(folder)
        options = self.manifest["recipe"]
        self.pairs, self.seed, self.epoch = pairs, seed, 0
        self.max_length, self.room = max_length, max_length - 2
        most = min(target_tokens or options["target_tokens"], self.room)
        least = min(options["min_tokens"] if min_tokens is None else min_tokens, most)
        share = options["short_share"] if short_share is None else short_share
        if least < 1 or not 0 <= share <= 1:
            raise InputError(
                f"Spans of {least} to {most} tokens with a share of {share} short ones cannot be drawn (max_length is "
                f"{max_length})."
            )
        self.lengths = SpanLengths(least, most, share)
        self.folder, self._store = Path(folder), SpanStore(folder)
        documents = self._split_documents(split)
        if pairs:
            self._planned: tuple[int, Integers, Integers] | None = None
            self._documents = self._with_room_for_pairs(documents)
            return
        pieces = -(-self._store.token_counts[documents] // self.room)
        self._documents = np.repeat(documents, pieces)
        self._pieces = np.arange(len(self._documents)) - np.repeat(np.cumsum(pieces) - pieces, pieces)

    def _split_documents(self, split: str) -> Integers:
        held_out = self._store.id_hashes < np.uint64(self.manifest["evaluation"]["below_hash"])
        documents = np.flatnonzero({"train": ~held_out, "evaluation": held_out, "all": held_out | True}[split])
        if not len(documents):
            raise InputError(
                f"The span folder '{self._store.folder}' has no documents in the split '{split}'; set the share for "
                "evaluation when preparing it."
            )
        return documents

    def _with_room_for_pairs(self, documents: Integers) -> Integers:
        several = documents[self._store.span_counts[documents] > 1]
        if not len(several):
            raise InputError(
                f"None of the {len(documents):,} documents has two spans, so coCondenser "
                "pre-training has no pairs; use the Condenser stage, longer documents, or a shorter target_tokens."
            )
        roomy = several[self._store.token_counts[several] >= 2 * self.lengths.least]
        counts = self._store.token_counts[several]
        number = pairs_per_epoch(self._store.token_counts[roomy], self.lengths)
        if number < 0.8 * len(several):
            better = self._better_target(counts)
            advice = (
                f"with target_tokens={better}, or a higher short_share, most would do"
                if better
                else "they are too short for any pairs"
            )
            sentence = (
                f"Only {number:,} of the {len(several):,} documents with two spans can give a "
                f"pair of spans of up to {self.lengths.most} tokens in an epoch, the others being too short; {advice}."
            )
            if not number:
                raise InputError(sentence)
            logger.warning("%s", sentence)
        self._number = number
        return roomy

    def _better_target(self, token_counts: Integers) -> int | None:
        """The greatest target for which four fifths of the documents give pairs, or else any do."""
        for share in (0.8, 0.0):
            for most in range(self.lengths.most - 1, 0, -1):
                lengths = replace(self.lengths, least=min(self.lengths.least, most), most=most)
                if pairs_per_epoch(token_counts[token_counts >= 2 * lengths.least], lengths) > share * len(
                    token_counts
                ):
                    return most
        return None

    def set_epoch(self, epoch: int) -> None:
        """Draw other spans (and masks) from now on."""
        self.epoch = epoch
        if self.pairs:
            self._plan()  # before DataLoader workers are forked, so that they need not make it each

    def __len__(self) -> int:
        return self._number if self.pairs else len(self._documents)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return several items at once; what DataLoader calls."""
        rows = np.asarray(indices, np.int64)
        if self.pairs:
            documents, starts, lengths = self.draw_pairs(rows)
            ends = starts + lengths
            keys = item_keys(self.seed, self.epoch, documents[:, None], [[0, 1]])
        else:
            documents, pieces = self._documents[rows], self._pieces[rows]
            counts = self._store.token_counts[documents]
            first, last = place_pieces(
                item_keys(self.seed, self.epoch, documents, _DRAW),
                pieces,
                -(-counts // self.room),
                counts,
                self.room,
                self.lengths.least,
            )
            starts, ends = first[:, None], last[:, None]
            keys = item_keys(self.seed, self.epoch, documents, pieces)[:, None]
        return [
            self._item(int(document), item_starts, item_ends, item_keys)
            for document, item_starts, item_ends, item_keys in zip(
                documents, starts.tolist(), ends.tolist(), keys.tolist(), strict=True
            )
        ]

    def draw_pairs(self, indices: npt.ArrayLike) -> tuple[Integers, Integers, Integers]:
        """Return the document of each item, where its two spans start in it and how long they are.

        Returns:
            documents (items), starts and lengths (items, 2).
        """
        rows = np.asarray(indices, np.int64)
        chosen, drawn = self._plan()
        documents, lengths = self._documents[chosen[rows]], drawn[rows]
        keys = item_keys(self.seed, self.epoch, documents, _DRAW)
        anchors = draw_anchors(keys, self._store.span_counts[documents])
        anchor_ends = np.empty_like(anchors)
        anchor_starts = np.zeros_like(anchors)
        for row, (document, pair) in enumerate(zip(documents, anchors.tolist(), strict=True)):
            ends = self._store.span_ends(document)
            for column, anchor in enumerate(pair):
                anchor_ends[row, column] = ends[anchor]
                if anchor:
                    anchor_starts[row, column] = ends[anchor - 1]
        counts = self._store.token_counts[documents]
        return documents, place_windows(keys, lengths, anchor_starts, anchor_ends, counts), lengths

    def _plan(self) -> tuple[Integers, Integers]:
        """The epoch's pairs, (documents, lengths); made once per epoch and process."""
        if self._planned is None or self._planned[0] != self.epoch:
            counts = self._store.token_counts[self._documents]
            self._planned = (self.epoch, *plan_pairs(counts, self.lengths, self._number, self.seed, self.epoch))
        return self._planned[1:]

    def _item(self, document: int, starts: list[int], ends: list[int], keys: list[int]) -> dict[str, Any]:
        store = self._store
        item: dict[str, Any] = {
            "spans": [store.tokens(document, start, end) for start, end in zip(starts, ends, strict=True)],
            "document_id": document,
            "keys": keys,
        }
        if store.has_word_starts:
            item["word_starts"] = [store.word_starts(document, s, e) for s, e in zip(starts, ends, strict=True)]
        return item
