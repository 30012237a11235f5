"""The development set: which queries, and how a retriever is measured on them during training."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sentence_transformers.base.evaluation import BaseEvaluator

from hf_cocondenser.evaluation.measures import evaluate_run
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.dense import dense_search

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)


def restrict(data: RetrievalData, queries: list[str]) -> RetrievalData:
    """The same data set with some of its queries only."""
    return replace(
        data,
        queries={query: data.queries[query] for query in queries},
        qrels={query: data.qrels[query] for query in queries},
    )


def hold_out(train: RetrievalData, share: float, most: int, seed: int) -> tuple[RetrievalData, RetrievalData | None]:
    """Take a seeded share of the training queries away as development queries.

    Queries with equal texts stay on one side.

    Returns:
        The rest, and the development part (None when the share is none).
    """
    judged = list(train.relevant())
    texts = sorted({train.queries[query] for query in judged})
    number = min(round(share * len(texts)), most)
    if number < 1 or number >= len(texts):
        return train, None
    chosen = {texts[i] for i in np.random.default_rng(seed).permutation(len(texts))[:number]}
    dev = [query for query in judged if train.queries[query] in chosen]
    rest = [query for query in train.qrels if train.queries[query] not in chosen]
    return restrict(train, rest), restrict(train, dev)


def sample_queries(train: RetrievalData, share: float, seed: int) -> RetrievalData:
    """A seeded share of the training queries, at least one; the sample of a smaller share lies in that of a larger."""
    judged = list(train.relevant())
    number = max(1, round(share * len(judged)))
    if number == len(judged):
        return train
    chosen = sorted(np.random.default_rng(seed).permutation(len(judged))[:number].tolist())
    return restrict(train, [judged[i] for i in chosen])


def sample_dev(dev: RetrievalData, queries: int, documents: int | None, seed: int) -> RetrievalData:
    """A seeded sample of development queries, to be ranked over all their relevant documents and random others.

    Args:
        dev: all of them.
        queries: queries at most.
        documents: documents at most, more only when more are relevant; None keeps the corpus.
        seed: of the sample.
    """
    rng = np.random.default_rng(seed)
    judged = list(dev.relevant())
    chosen = sorted(rng.permutation(len(judged))[:queries].tolist())
    dev = restrict(dev, [judged[i] for i in chosen])
    if documents and documents < len(dev.corpus):
        keep = {document for own in dev.relevant().values() for document in own}
        others = [document for document in dev.corpus if document not in keep]
        number = max(documents - len(keep), 0)
        keep |= {others[i] for i in rng.permutation(len(others))[:number].tolist()}
        dev = replace(dev, corpus={document: text for document, text in dev.corpus.items() if document in keep})
    return dev


class DevEvaluator(BaseEvaluator):
    """Measures a retriever on a development set by exact search, as `evaluate` would.

    Args:
        data: queries, judgements and the documents to rank.
        measure: the one that chooses the checkpoint; MRR@10 and Recall@100 are logged beside it.
    """

    def __init__(self, data: RetrievalData, measure: str = "nDCG@10") -> None:
        super().__init__()
        self.data = data
        self.measures = list(dict.fromkeys([measure, "nDCG@10", "MRR@10", "Recall@100"]))
        self.primary_metric = f"dev_{measure}"

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """The mean of every measure."""
        means, _ = self.measure(model)
        metrics = {f"dev_{name}": value for name, value in means.items()}
        logger.info("%s", ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
        return metrics

    def measure(self, model: SentenceTransformer) -> tuple[dict[str, float], np.ndarray]:
        """The means of all measures, and the one that chooses, query by query."""
        run = dense_search(model, self.data.queries, self.data.corpus, k=100)
        means, per_query = evaluate_run(self.data.qrels, run, self.measures)
        return means, np.array([per_query[query][self.measures[0]] for query in self.data.qrels])

    def get_config_dict(self) -> dict[str, Any]:
        """What the model card shows."""
        return {"queries": len(self.data.queries), "documents": len(self.data.corpus)}
