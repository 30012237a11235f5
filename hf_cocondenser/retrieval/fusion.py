"""Putting several runs together."""

from __future__ import annotations

from collections.abc import Sequence

from hf_cocondenser.retrieval.runs import Run, ranked


def reciprocal_rank_fusion(runs: Sequence[Run], k: int = 60, depth: int | None = None) -> Run:
    """Fuse runs by the sum of 1 / (k + rank) (Cormack, Clarke and Buettcher 2009, who set k to 60).

    Args:
        runs: the runs to fuse; a document that a run does not return adds nothing there.
        k: how much the first ranks count less than they otherwise would.
        depth: documents kept for each query (all, when None).
    """
    queries = dict.fromkeys(query for run in runs for query in run)
    fused: Run = {}
    for query in queries:
        scores: dict[str, float] = {}
        for run in runs:
            for rank, (document, _) in enumerate(ranked(run.get(query, {})), start=1):
                scores[document] = scores.get(document, 0.0) + 1.0 / (k + rank)
        fused[query] = dict(ranked(scores, depth))
    return fused
