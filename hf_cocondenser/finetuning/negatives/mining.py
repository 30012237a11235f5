"""Hard negatives from BM25 and from a retriever."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from hf_cocondenser.finetuning.config import MiningConfig
from hf_cocondenser.finetuning.negatives.audit import audit_pool
from hf_cocondenser.finetuning.negatives.pools import PairScorer, choose_negatives
from hf_cocondenser.finetuning.training_set import Pool
from hf_cocondenser.retrieval.bm25 import BM25Index
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.dense import DenseSearcher
from hf_cocondenser.retrieval.runs import Run

logger = logging.getLogger(__name__)


def bm25_pool(data: RetrievalData, config: MiningConfig, seed: int) -> tuple[Pool, dict[str, Any]]:
    """BM25 negatives of every query with a relevant document, and a report."""
    relevant = data.relevant()
    queries = {query: data.queries[query] for query in relevant}
    index = BM25Index.build(data.corpus, show_progress=len(data.corpus) > 50_000)
    run = index.search(queries, config.bm25_depth, show_progress=len(queries) > 5_000)
    pool, counts = choose_negatives(
        run, queries, data.corpus, relevant, depth=config.bm25_depth, number=config.bm25_negatives, seed=seed
    )
    logger.info("BM25 negatives: %s", _in_words(counts))
    return pool, {"miner": index.variant, "depth": config.bm25_depth, "seed": seed, "counts": counts}


def mined_pool(
    searcher: DenseSearcher,
    data: RetrievalData,
    config: MiningConfig,
    seed: int,
    cross_encoder: PairScorer | None = None,
) -> tuple[Pool, dict[str, Any]]:
    """Negatives from a retriever's own first documents, and a report with an audit of a sample of them.

    Args:
        searcher: over the corpus of `data`.
        data: judged training queries.
        config: depth, number and what to drop.
        seed: of the sample.
        cross_encoder: scores the candidates (RocketQA's denoising).
    """
    relevant = data.relevant()
    queries = {query: data.queries[query] for query in relevant}
    run = searcher.search(queries, config.mine_depth)
    positives = scores_of(searcher, queries, relevant)
    pool, counts = choose_negatives(
        run,
        queries,
        data.corpus,
        relevant,
        depth=config.mine_depth,
        number=config.mine_negatives,
        seed=seed,
        sampling=config.sampling,
        positive_scores={query: float(np.mean(list(scores.values()))) for query, scores in positives.items()},
        config=config,
        cross_encoder=cross_encoder,
    )
    logger.info("Mined negatives: %s", _in_words(counts))
    audit = audit_pool(pool, run, positives, queries, data.corpus, seed, cross_encoder)
    logger.info("Of %d mined negatives looked at: %s", audit["looked_at"], _in_words(audit, "looked_at", "examples"))
    return pool, {"depth": config.mine_depth, "seed": seed, "counts": counts, "audit": audit}


def cross_encoder_pool(
    searcher: DenseSearcher, data: RetrievalData, config: MiningConfig, seed: int
) -> tuple[Pool, dict[str, int]]:
    """A cross-encoder's training negatives: drawn at random from a retriever's first documents, and counts."""
    relevant = data.relevant()
    queries = {query: data.queries[query] for query in relevant}
    return choose_negatives(
        searcher.search(queries, config.cross_encoder_depth),
        queries,
        data.corpus,
        relevant,
        depth=config.cross_encoder_depth,
        number=config.cross_encoder_negatives,
        seed=seed,
    )


def scores_of(searcher: DenseSearcher, queries: Mapping[str, str], documents: Pool) -> Run:
    """The scores of given documents of every query, wherever they rank."""
    vectors = searcher.encoder.encode(list(queries.values()), kind="query")
    place = {document: row for row, document in enumerate(searcher.ids)}
    assert searcher.vectors is not None  # mining searches exactly, not in another store
    scores: Run = {}
    for query, vector in zip(queries, vectors, strict=True):
        own = np.asarray(searcher.vectors[np.array([place[document] for document in documents[query]])])
        if searcher.cosine:
            own, vector = (x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12) for x in (own, vector))
        scores[query] = dict(zip(documents[query], (own @ vector).tolist(), strict=True))
    return scores


def _in_words(counts: Mapping[str, Any], *without: str) -> str:
    return ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items() if name not in without)
