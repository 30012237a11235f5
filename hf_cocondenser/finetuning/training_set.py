"""Training queries with their positives and pools of hard negatives, drawn anew each epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.tokens import TokenStore
from hf_cocondenser.retrieval.words import same_text

if TYPE_CHECKING:
    from datasets import Dataset as HubDataset

Pool = dict[str, list[str]]
"""Query id -> document ids."""


class TrainingSet(Dataset):
    """One item per query: its index, and the keys of a positive and `negatives` hard negatives.

    What is drawn is a pure function of (seed, epoch, query), so workers and a resumed run see the same. From epoch to
    epoch a query walks through a permutation of its pool: no negative comes twice before all have come once. A query
    whose pool is too small gets random passages of the other queries beside it.

    Args:
        queries: query id -> text.
        corpus: document id -> text.
        relevant: query id -> relevant documents; queries without are left out.
        pools: hard negatives, several pools are joined.
        negatives: hard negatives per query and step.
        seed: of the draws.

    Attributes:
        queries: texts.
        passages: distinct texts; a passage's key is its place here, so equal texts share one key.
        relevant: the keys of all relevant passages of each query.

    Raises:
        InputError: no query has a relevant document.
    """

    def __init__(
        self,
        queries: Mapping[str, str],
        corpus: Mapping[str, str],
        relevant: Pool,
        pools: Iterable[Pool] = (),
        negatives: int = 1,
        seed: int = 0,
    ) -> None:
        ids = [query for query in queries if relevant.get(query)]
        if not ids:
            raise InputError("No training query has a relevant document.")
        self.queries = [queries[query] for query in ids]
        self.passages: list[str] = []
        self._keys: dict[str, int] = {}
        self._keys_of_ids: dict[str, int] = {}
        self.relevant = [self._add(corpus, relevant[query]) for query in ids]
        pools = list(pools)
        self.pools = []
        for query, own in zip(ids, self.relevant, strict=True):
            keys = self._add(corpus, [document for pool in pools for document in pool.get(query, [])])
            self.pools.append(keys[~np.isin(keys, own)])
        self.negatives = negatives
        self.seed = seed
        self.epoch = 0

    def _add(self, corpus: Mapping[str, str], documents: Sequence[str]) -> np.ndarray:
        keys = [self._key(document, corpus[document]) for document in documents]
        return np.array(list(dict.fromkeys(keys)), dtype=np.int64)

    def _key(self, document: str, text: str) -> int:
        if document not in self._keys_of_ids:
            key = self._keys_of_ids[document] = self._keys.setdefault(same_text(text), len(self.passages))
            if key == len(self.passages):
                self.passages.append(text)
        return self._keys_of_ids[document]

    def __len__(self) -> int:
        return len(self.queries)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose draws are given out."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> tuple[int, np.ndarray]:
        order = np.random.default_rng((self.seed, index))
        positives = order.permutation(self.relevant[index])
        pool = order.permutation(self.pools[index])
        start = self.epoch * self.negatives
        drawn = pool[(start + np.arange(min(self.negatives, len(pool)))) % max(len(pool), 1)]
        if len(drawn) < self.negatives:
            drawn = np.concatenate([drawn, self._random(index, self.negatives - len(drawn))])
        return index, np.concatenate([positives[[self.epoch % len(positives)]], drawn])

    def as_dataset(self, *, labels: bool = False) -> HubDataset:
        """One row for each query and relevant passage, as sentence-transformers takes them.

        The columns are anchor, positive, negative_1, ...: the first `negatives` of the query's pool. Queries whose pool
        is smaller are left out.

        Args:
            labels: with the column `label`, the keys that `MaskedContrastiveLoss` masks by, padded to one length.
        """
        from datasets import Dataset as HubDataset

        most = max(map(len, self.relevant))
        rows: list[dict[str, Any]] = []
        for query, relevant, pool in zip(self.queries, self.relevant, self.pools, strict=True):
            negatives = pool[: self.negatives].tolist()
            for positive in relevant.tolist() if len(negatives) == self.negatives else ():
                row = {"anchor": query, "positive": self.passages[positive]}
                row |= {f"negative_{n}": self.passages[key] for n, key in enumerate(negatives, start=1)}
                padding = [-1] * (most - len(relevant))
                rows.append(row | ({"label": [positive, *negatives, *relevant, *padding]} if labels else {}))
        return HubDataset.from_list(rows)

    def _random(self, index: int, number: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, index, self.epoch))
        others = np.setdiff1d(rng.integers(0, len(self.passages), 4 * number + 8), self.relevant[index])
        # In a collection where all is relevant there is no negative; the loss masks what stands in its place.
        return rng.choice(others, number) if len(others) else rng.integers(0, len(self.passages), number)


class TrainingCollator:
    """Items of a `TrainingSet` to the batch that sentence-transformers' trainer hands to the loss.

    The passages are one column: all positives first, then the first negatives, and so on.
    """

    def __init__(self, training_set: TrainingSet, queries: TokenStore, passages: TokenStore) -> None:
        self.training_set = training_set
        self.queries = queries
        self.passages = passages

    def __call__(self, items: Sequence[tuple[int, np.ndarray]]) -> dict[str, Any]:
        """Features `query_*` and `passage_*`, and `label` as `MaskedContrastiveLoss` takes it."""
        indices = [index for index, _ in items]
        keys = np.stack([keys for _, keys in items])
        relevant = [self.training_set.relevant[index] for index in indices]
        labels = np.full((len(items), keys.shape[1] + max(map(len, relevant))), -1, dtype=np.int64)
        labels[:, : keys.shape[1]] = keys
        for row, own in enumerate(relevant):
            labels[row, keys.shape[1] :][: len(own)] = own
        batch: dict[str, Any] = {f"query_{name}": v for name, v in self.queries.batch(indices).items()}
        batch |= {f"passage_{name}": v for name, v in self.passages.batch(keys.T.reshape(-1)).items()}
        return {**batch, "label": torch.from_numpy(labels)}


class EpochSampler(Sampler[int]):
    """A random order that is a pure function of (seed, epoch)."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.default_rng((self.seed, self.epoch)).permutation(self.size).tolist())
