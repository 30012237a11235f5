"""Batches of a stream of pairs, as the loss takes them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import IterableDataset

from hf_cocondenser.finetuning.pairs.sources import Pair
from hf_cocondenser.retrieval.encode import Kind, prompt_of
from hf_cocondenser.retrieval.words import same_text

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class PairBatches(IterableDataset):
    """This process's part of every global batch, tokenised when it is asked for.

    All processes read the same stream and keep their own rows, so what a batch holds depends on the seed alone, and
    passages with equal texts, or answers to equal questions, are known to each other wherever they are.

    Args:
        model: its prompts and lengths are used.
        stream: gives the endless stream from its start.
        batch_size: pairs per process.
        rank, world: this process, and how many there are.

    Attributes:
        start: global batches to leave out at the start, when a stopped run goes on.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        stream: Callable[[], Iterator[Pair]],
        batch_size: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.model = model
        self.stream = stream
        self.batch_size = batch_size
        self.rank = rank
        self.world = world
        self.start = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        size = self.batch_size * self.world
        stream = islice(self.stream(), self.start * size, None)
        while True:
            pairs = list(islice(stream, size))
            mine = slice(self.rank * self.batch_size, (self.rank + 1) * self.batch_size)
            queries, *passages = zip(*with_negatives(pairs)[mine], strict=True)
            column = [text for part in passages for text in part]  # all positives first
            batch = {f"query_{name}": value for name, value in self._features(queries, "query").items()}
            batch |= {f"passage_{name}": value for name, value in self._features(column, "document").items()}
            yield {**batch, "label": pair_labels(pairs)[mine]}

    def _features(self, texts: Sequence[str], task: Kind) -> dict[str, Any]:
        features = self.model.preprocess(list(texts), prompt=prompt_of(self.model, task), task=task)
        return {**features, "task": task}


def with_negatives(pairs: Sequence[Pair]) -> list[tuple[str, ...]]:
    """(query, positive) of every pair, or (query, positive, negative) where a pair of the batch has a negative.

    A pair without one then gets the next pair's positive, which is a negative of the batch anyway.
    """
    if not any(pair.negative for pair in pairs):
        return [(pair.query, pair.positive) for pair in pairs]
    following = [*pairs[1:], pairs[0]]
    return [
        (pair.query, pair.positive, pair.negative or other.positive)
        for pair, other in zip(pairs, following, strict=True)
    ]


def pair_labels(pairs: Sequence[Pair]) -> torch.Tensor:
    """Labels of a batch of pairs for `MaskedContrastiveLoss`, shape (pairs, 1 + n + r).

    The first columns are the keys of a row's positive and its n (0 or 1) negatives, the others those of all positives of
    the same query, padded with -1.
    """
    rows = with_negatives(pairs)
    keys = [[_key(text) for text in passages] for _, *passages in rows]
    relevant: dict[str, set[int]] = {}
    queries = [same_text(pair.query) for pair in pairs]
    for query, (positive, *_) in zip(queries, keys, strict=True):
        relevant.setdefault(query, set()).add(positive)
    labels = np.full((len(pairs), len(keys[0]) + max(map(len, relevant.values()))), -1, dtype=np.int64)
    for row, (query, own) in enumerate(zip(queries, keys, strict=True)):
        own = own + sorted(relevant[query])
        labels[row, : len(own)] = own
    return torch.from_numpy(labels)


def _key(text: str) -> int:
    """63 bits of a hash of the words: a stream is too long to number its texts."""
    return int.from_bytes(hashlib.blake2b(same_text(text).encode(), digest_size=8).digest(), "little") >> 1
