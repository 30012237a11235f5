"""Pools of hard negatives: candidates in, what is relevant or doubtful out, a sample kept, and a report of it all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.config import MiningConfig
from hf_cocondenser.finetuning.training_set import Pool
from hf_cocondenser.retrieval.runs import Run, ranked
from hf_cocondenser.retrieval.words import same_text
from hf_cocondenser.utils.files import write_text

PairScorer = Callable[[Sequence[tuple[str, str]]], np.ndarray]
"""(query, passage) texts to scores between 0 and 1."""


def choose_negatives(
    run: Run,
    queries: Mapping[str, str],
    corpus: Mapping[str, str],
    relevant: Pool,
    *,
    depth: int,
    number: int,
    seed: int,
    sampling: str = "random",
    positive_scores: Mapping[str, float] | None = None,
    config: MiningConfig | None = None,
    cross_encoder: PairScorer | None = None,
) -> tuple[Pool, dict[str, int]]:
    """Choose hard negatives from a run.

    Out go, in this order: relevant passages; passages whose text equals a relevant one, the query or a passage that is
    kept already, or that have the query's id; with `config.margin`, those that score too near the positive; with a
    cross-encoder, those it does not find clearly irrelevant. With `config.denoise_depth` it scores so many candidates,
    and where it leaves fewer than `number`, those behind them fill up at random, without a score (RocketQA).

    Args:
        run: candidates.
        queries: query id -> text.
        corpus: document id -> text.
        relevant: query id -> relevant documents.
        depth: candidates per query, best first.
        number: negatives per query at most.
        seed: of the sample.
        sampling: `random`, `top` or `simans`.
        positive_scores: the score of each query's positives (their mean) on the run's scale; without one a query
            knows no margin, and SimANS takes its best candidate's.
        config: margin, thresholds and SimANS's constants.
        cross_encoder: scores the candidates that are left.

    Returns:
        The pool, and counts of what was dropped and kept.
    """
    config = config or MiningConfig()
    positive_scores = positive_scores or {}
    counts: Counter[str] = Counter(dict.fromkeys(("candidates", "relevant", "equal_text"), 0))
    kept: dict[str, list[tuple[str, float]]] = {}
    behind: dict[str, list[str]] = {}
    scored = depth if cross_encoder is None or config.denoise_depth is None else config.denoise_depth
    text_of = cache(lambda document: same_text(corpus[document]))  # the same documents come up for many queries
    for query in relevant:
        own = set(relevant[query])
        texts = {text_of(document) for document in own} | {same_text(queries[query])}
        kept[query], behind[query] = [], []
        for rank, (document, score) in enumerate(ranked(run.get(query, {}), depth)):
            counts["candidates"] += 1
            if document in own:
                counts["relevant"] += 1
            elif document == query or text_of(document) in texts:
                counts["equal_text"] += 1
            elif config.margin is not None and _too_near(score, positive_scores.get(query), config.margin):
                counts["within_margin"] += 1
            else:
                texts.add(text_of(document))
                if rank < scored:
                    kept[query].append((document, score))
                else:
                    behind[query].append(document)
    if cross_encoder is not None:
        kept = _denoise(kept, queries, corpus, cross_encoder, config.negative_below, counts)
    pool = {}
    for index, (query, candidates) in enumerate(kept.items()):
        rng = np.random.default_rng((seed, index))
        pool[query] = _sample(candidates, number, sampling, positive_scores.get(query), config, rng)
        filling = rng.permutation(behind[query])[: max(number - len(pool[query]), 0)].tolist()
        pool[query] += filling
        if scored < depth:
            counts["filled_without_score"] += len(filling)
        counts["not_drawn"] += len(candidates) + len(behind[query]) - len(pool[query])
        counts["kept"] += len(pool[query])
        counts["queries_without_negatives"] += not pool[query]
    return pool, dict(counts)


def _too_near(score: float, positive: float | None, margin: float) -> bool:
    return positive is not None and score > positive - margin * abs(positive)


def _denoise(
    kept: dict[str, list[tuple[str, float]]],
    queries: Mapping[str, str],
    corpus: Mapping[str, str],
    cross_encoder: PairScorer,
    below: float,
    counts: Counter[str],
) -> dict[str, list[tuple[str, float]]]:
    pairs = [(query, hit) for query, hits in kept.items() for hit in hits]
    scores = cross_encoder([(queries[query], corpus[document]) for query, (document, _) in pairs])
    clean: dict[str, list[tuple[str, float]]] = {query: [] for query in kept}
    for (query, hit), score in zip(pairs, scores, strict=True):
        if score < below:
            clean[query].append(hit)
        else:
            counts["cross_encoder_doubts"] += 1
    return clean


def _sample(
    candidates: list[tuple[str, float]],
    number: int,
    sampling: str,
    positive: float | None,
    config: MiningConfig,
    rng: np.random.Generator,
) -> list[str]:
    documents = [document for document, _ in candidates]
    if sampling == "top" or len(documents) <= number:
        return documents[:number]
    weights = None
    if sampling == "simans":
        weights = simans_weights(
            np.array([score for _, score in candidates]), positive, config.simans_a, config.simans_b
        )
        number = min(number, int((weights > 0).sum()))
    drawn = rng.choice(len(documents), number, replace=False, p=weights)
    return [documents[i] for i in sorted(drawn.tolist())]


def simans_weights(scores: np.ndarray, positive: float | None, a: float, b: float) -> np.ndarray:
    """SimANS's sampling weights, exp(-a (s - s_positive - b)^2), summing to 1.

    Scores are divided by their standard deviation over the query's candidates first, so that `a` and `b` mean the
    same for every model, whatever its score's scale.
    """
    spread = float(scores.std()) or 1.0
    distance = (scores - (scores.max() if positive is None else positive)) / spread - b
    exponent = -a * distance**2
    weights = np.exp(exponent - exponent.max())
    return weights / weights.sum()


def write_pool(path: Path, pool: Pool) -> None:
    """Write a pool as JSON lines `{"query-id": ..., "negatives": [...]}`."""
    rows = ({"query-id": query, "negatives": documents} for query, documents in pool.items())
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_pool(path: Path) -> Pool:
    """Read a pool.

    Raises:
        InputError: a line is no such row.
    """
    pool: Pool = {}
    # Lines end at line feeds alone: an id may hold what else `splitlines` takes for an end.
    for number, line in enumerate(path.read_text(encoding="utf-8").removesuffix("\n").split("\n"), start=1):
        if not line:
            continue
        try:
            row: dict[str, Any] = json.loads(line)
            pool[row["query-id"]] = row["negatives"]
        except (json.JSONDecodeError, KeyError, TypeError):
            raise InputError(f"Line {number} of '{path}' is no row of a pool of negatives.") from None
    return pool
