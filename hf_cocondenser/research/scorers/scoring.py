"""Ranking with a scorer, query by query and timed: candidates again, or a whole corpus."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm.auto import tqdm

from hf_cocondenser.research.scorers.base import Scorer
from hf_cocondenser.research.scorers.vectors import Vectors
from hf_cocondenser.retrieval.runs import Run, ranked

_TEXTS_AT_ONCE = 256
_DOCUMENTS_AT_ONCE = 256


@dataclass(frozen=True)
class DocumentVectors:
    """The documents of a corpus as a scorer keeps them, without padding, in float32.

    Attributes:
        ids: of the documents.
        tokens: of each document, shape (t_i, d).
        keys: of each document, shape (t_i,).
        whole: shape (documents, c).
    """

    ids: Sequence[str]
    tokens: list[Tensor]
    keys: list[Tensor]
    whole: Tensor

    @classmethod
    @torch.no_grad()
    def encode(cls, scorer: Scorer, corpus: Mapping[str, str], *, show_progress: bool = False) -> DocumentVectors:
        """Encode a corpus; what comes out lies in the memory of the machine, not of its accelerator."""
        texts = list(corpus.values())
        tokens, keys, whole = [], [], []
        starts = range(0, len(texts), _TEXTS_AT_ONCE)
        for start in tqdm(
            starts, desc=f"Encoding for {scorer.kind}", disable=None if show_progress else True, leave=False
        ):
            found = scorer.represent_texts(texts[start : start + _TEXTS_AT_ONCE], "document").to(torch.device("cpu"))
            for row, mask in zip(range(len(found)), found.mask, strict=True):
                mask[0] |= not mask.any()  # a text without a token that counts keeps one that matches nothing
                tokens.append(found.tokens[row][mask].clone())
                keys.append(found.keys[row][mask].clone())
            whole.append(found.whole)
        return cls(list(corpus), tokens, keys, torch.cat(whole))

    def take(self, rows: Sequence[int]) -> Vectors:
        """Some of the documents, padded."""
        return Vectors.pad([self.tokens[i] for i in rows], [self.keys[i] for i in rows], self.whole[list(rows)])

    def bytes_per_document(self, stores_keys: bool) -> float:
        """The mean size of a document: its numbers at four bytes, and its tokens' ids where an index needs them."""
        numbers = sum(tokens.numel() for tokens in self.tokens) + self.whole.numel()
        ids = sum(map(len, self.keys)) if stores_keys else 0
        return 4 * (numbers + ids) / len(self.ids)


def rescore(
    scorer: Scorer, queries: Mapping[str, str], candidates: Run, documents: DocumentVectors, depth: int
) -> tuple[Run, list[float]]:
    """Order each query's first `depth` candidates by the scorer.

    Returns:
        The run, and the seconds that each query took (its own encoding among them).
    """
    place = {document: row for row, document in enumerate(documents.ids)}
    names = {query: [document for document, _ in ranked(candidates.get(query, {}), depth)] for query in queries}

    def answer(query: str, vectors: Vectors) -> dict[str, float]:
        if not names[query]:
            return {}
        found = documents.take([place[document] for document in names[query]]).to(scorer.device)
        return dict(zip(names[query], scorer.score(vectors, found)[0].tolist(), strict=True))

    return _one_by_one(scorer, queries, answer)


def search_exactly(
    scorer: Scorer, queries: Mapping[str, str], documents: DocumentVectors, depth: int
) -> tuple[Run, list[float]]:
    """The best `depth` documents of the corpus for each query, every one of them scored.

    Returns:
        The run, and the seconds that each query took (its own encoding among them).
    """
    order = sorted(range(len(documents.ids)), key=lambda row: len(documents.keys[row]))
    cuts = range(0, len(order), _DOCUMENTS_AT_ONCE)
    blocks = [documents.take(order[cut : cut + _DOCUMENTS_AT_ONCE]).to(scorer.device) for cut in cuts]

    def answer(query: str, vectors: Vectors) -> dict[str, float]:
        scores = torch.cat([scorer.score(vectors, block)[0] for block in blocks])
        best = scores.topk(min(depth, len(order)))
        hits = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return {documents.ids[order[row]]: score for row, score in hits}

    return _one_by_one(scorer, queries, answer)


@torch.no_grad()
def _one_by_one(
    scorer: Scorer, queries: Mapping[str, str], answer: Callable[[str, Vectors], dict[str, float]]
) -> tuple[Run, list[float]]:
    run: Run = {}
    seconds = []
    for query, text in queries.items():
        started = time.perf_counter()
        run[query] = answer(query, scorer.represent_texts([text], "query"))
        seconds.append(time.perf_counter() - started)
    return run, seconds
