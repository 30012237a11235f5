"""Cross-encoders: the scores of RocketQA's denoising, and labels for queries nobody judged."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from hf_cocondenser.data.reading.queries import read_queries
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.negatives.pools import PairScorer
from hf_cocondenser.finetuning.training_set import Pool
from hf_cocondenser.retrieval.runs import Run, ranked
from hf_cocondenser.retrieval.words import same_text
from hf_cocondenser.utils.loading import load_whole
from hf_cocondenser.utils.progress import on_terminal

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

logger = logging.getLogger(__name__)


def load_cross_encoder(name_or_path: str) -> PairScorer:
    """A cross-encoder's probability that a passage answers a query.

    One output is taken through a sigmoid, two (irrelevant, relevant) through a softmax.

    Raises:
        InputError: it cannot be loaded, lacks weights (as a plain encoder does), or has more outputs than two.
    """
    from sentence_transformers import CrossEncoder

    model = load_whole(CrossEncoder, "The cross-encoder", name_or_path, may_be_new=r"(?!)")
    if model.num_labels not in (1, 2):
        raise InputError(f"The cross-encoder '{name_or_path}' has {model.num_labels} outputs; it must have 1 or 2.")
    return lambda pairs: _probabilities(model, pairs)


def _probabilities(model: CrossEncoder, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    if not pairs:
        return np.zeros(0)
    bar = len(pairs) > 1000 and on_terminal()
    logits = model.predict(
        list(pairs), activation_fn=torch.nn.Identity(), convert_to_tensor=True, show_progress_bar=bar
    )
    logits = logits.float().cpu()
    return (torch.sigmoid(logits) if logits.ndim == 1 else torch.softmax(logits, dim=1)[:, 1]).numpy()


def label_queries(
    run: Run,
    queries: Mapping[str, str],
    corpus: Mapping[str, str],
    cross_encoder: PairScorer,
    *,
    above: float,
    below: float,
    depth: int,
    number: int,
) -> tuple[Pool, Pool, dict[str, int]]:
    """Label unjudged queries (RocketQA's augmentation).

    Passages scored over `above` become relevant, those under `below` negatives, the rest are not used. A query without
    a relevant passage is dropped.

    Args:
        run: candidates.
        queries: query id -> text.
        corpus: document id -> text.
        cross_encoder: scores the candidates.
        above: threshold for relevant passages.
        below: threshold for negatives.
        depth: candidates per query, best first.
        number: negatives per query at most, the hardest first.

    Returns:
        Relevant passages (best first) and negatives of the queries that are kept, and counts.
    """
    pairs = [(query, document) for query in queries for document, _ in ranked(run.get(query, {}), depth)]
    scores = cross_encoder([(queries[query], corpus[document]) for query, document in pairs])
    relevant: dict[str, list[tuple[float, str]]] = {}
    negatives: Pool = {}
    for (query, document), score in zip(pairs, scores.tolist(), strict=True):
        if score > above:
            relevant.setdefault(query, []).append((score, document))
        elif score < below:
            negatives.setdefault(query, []).append(document)
    kept = {query: [document for _, document in sorted(found, reverse=True)] for query, found in relevant.items()}
    counts = {
        "unlabelled_queries": len(queries),
        "labelled": len(kept),
        "scored_pairs": len(pairs),
        "pseudo_positives": sum(map(len, kept.values())),
    }
    return kept, {query: negatives.get(query, [])[:number] for query in kept}, counts


def read_unlabelled(path: str | Path, known: Sequence[str]) -> dict[str, str]:
    """Read unlabelled queries (see `read_queries`), without those in `known` and repetitions.

    Raises:
        InputError: the file cannot be read, or has no new query.
    """
    seen = {same_text(text) for text in known}
    queries: dict[str, str] = {}
    for number, query in enumerate(read_queries(path), start=1):
        if query.text and same_text(query.text) not in seen:
            seen.add(same_text(query.text))
            queries[f"unlabelled-{number}"] = query.text
    if not queries:
        raise InputError(f"'{path}' has no query that is not among the judged ones.")
    return queries
