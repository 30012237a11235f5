"""How many of the mined negatives look like passages that nobody judged but that answer the query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_cocondenser.finetuning.training_set import Pool
from hf_cocondenser.retrieval.runs import Run
from hf_cocondenser.retrieval.words import same_text

if TYPE_CHECKING:
    from hf_cocondenser.finetuning.negatives.pools import PairScorer

_SAMPLE = 1000
_NEAR_DUPLICATE = 0.5
_LIKELY_RELEVANT = 0.5


def audit_pool(
    pool: Pool,
    run: Run,
    positives: Run,
    queries: Mapping[str, str],
    corpus: Mapping[str, str],
    seed: int,
    cross_encoder: PairScorer | None = None,
) -> dict[str, Any]:
    """Look at a seeded sample of 1,000 negatives.

    Args:
        pool: what was mined.
        run: the miner's scores.
        positives: the miner's scores of the relevant documents.
        queries: query id -> text.
        corpus: document id -> text.
        seed: of the sample.
        cross_encoder: asked too when there is one.

    Returns:
        How many were looked at; how many score above the query's best positive; how many are near-duplicates of one
        (half of their word triples in common); how many the cross-encoder gives more than 0.5; and up to ten examples.
    """
    pairs = [(query, document) for query, documents in pool.items() for document in documents]
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:_SAMPLE]
    pairs = [pairs[i] for i in sorted(chosen.tolist())]
    above, near = [], []
    for query, document in pairs:
        above.append(run[query][document] > max(positives[query].values()))
        near.append(max(overlap(corpus[document], corpus[own]) for own in positives[query]) >= _NEAR_DUPLICATE)
    report: dict[str, Any] = {
        "looked_at": len(pairs),
        "above_best_positive": sum(above),
        "near_duplicates_of_a_positive": sum(near),
    }
    doubtful = [a or n for a, n in zip(above, near, strict=True)]
    if cross_encoder is not None and pairs:
        likely = cross_encoder([(queries[q], corpus[d]) for q, d in pairs]) > _LIKELY_RELEVANT
        report["cross_encoder_above_half"] = int(likely.sum())
        doubtful = [d or bool(c) for d, c in zip(doubtful, likely, strict=True)]
    examples = [pair for pair, doubt in zip(pairs, doubtful, strict=True) if doubt][:10]
    report["examples"] = [{"query": queries[q], "document": d, "text": corpus[d][:200]} for q, d in examples]
    return report


def overlap(first: str, second: str) -> float:
    """Jaccard similarity of two texts' word triples (of their words, for texts under three)."""
    one, two = _shingles(first), _shingles(second)
    union = len(one | two)
    return len(one & two) / union if union else 0.0


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = same_text(text).split()
    size = min(3, len(words)) or 1
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}
