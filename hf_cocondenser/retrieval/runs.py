"""Runs: what a system returned for each query, and their TREC file format."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from pathlib import Path

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.files import write_text

Run = dict[str, dict[str, float]]
"""Query id -> document id -> score."""

Qrels = dict[str, dict[str, int]]
"""Query id -> document id -> relevance (graded; 0 and below is not relevant)."""


def ranked(hits: dict[str, float], depth: int | None = None) -> list[tuple[str, float]]:
    """Documents of one query, best first; ties go to the greater document id, as in trec_eval."""
    return sorted(hits.items(), key=lambda hit: (hit[1], hit[0]), reverse=True)[:depth]


def without_same_ids(run: Run) -> Run:
    """Drop the hit that is the query itself (same id), the rule of data sets whose queries are documents."""
    return {query: {doc: score for doc, score in hits.items() if doc != query} for query, hits in run.items()}


def require_run_ids(*groups: Iterable[str]) -> None:
    """Check that ids can be written to a run file.

    Raises:
        InputError: an id is empty or holds white space, which TREC's format cannot carry.
    """
    for name in itertools.chain.from_iterable(groups):
        if not name or len(name.split()) != 1 or name != name.strip():
            raise InputError(f"The id '{name}' is empty or holds white space, so it cannot stand in a TREC run file.")


def write_run(path: str | Path, run: Run, tag: str = "hf-cocondenser", depth: int | None = None) -> None:
    """Write a run as TREC lines `query Q0 document rank score tag`; the scores are read back exactly.

    Raises:
        InputError: an id holds white space, which the format cannot carry.
    """
    require_run_ids(run, *run.values())
    tag = "_".join(tag.split()) or "run"
    lines = []
    for query, hits in run.items():
        for rank, (document, score) in enumerate(ranked(hits, depth), start=1):
            lines.append(f"{query} Q0 {document} {rank} {float(score)!r} {tag}\n")
    write_text(Path(path), "".join(lines))


def read_run(path: str | Path) -> Run:
    """Read a TREC run file.

    Raises:
        InputError: the file is missing or empty, a line is not a TREC run line, or a query names a document twice.
    """
    run: Run = {}
    try:
        with Path(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                fields = line.split()
                if not fields:
                    continue
                try:
                    query, _, document, _, text, _ = fields
                    score = float(text)
                except ValueError:
                    raise InputError(
                        f"Line {number} of '{path}' is not a TREC run line 'query Q0 document rank score tag'."
                    ) from None
                if not math.isfinite(score):
                    raise InputError(
                        f"Line {number} of '{path}' has the score '{text}'; scores must be finite numbers."
                    )
                hits = run.setdefault(query, {})
                if document in hits:
                    raise InputError(
                        f"Line {number} of '{path}' names document '{document}' a second time for query '{query}'."
                    )
                hits[document] = score
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"'{path}' is not a run file; name a file in TREC format.") from None
    except UnicodeDecodeError:
        raise InputError(f"'{path}' is not UTF-8 text; name a run file in TREC format.") from None
    if not run:
        raise InputError(f"The run file '{path}' is empty.")
    return run
