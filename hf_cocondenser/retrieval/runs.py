"""Runs and judgements: what a system returned for each query, what is relevant to it, and TREC's files of both."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hf_cocondenser.data.reading.text_files import open_text
from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.files import write_text

Run = dict[str, dict[str, float]]
"""Query id -> document id -> score."""

Qrels = dict[str, dict[str, int]]
"""Query id -> document id -> relevance (graded; 0 and below is not relevant)."""

HIGHEST_GRADE = 1_000

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE | re.ASCII)
_FIELDS = re.compile(r"[^ \t\n\v\f\r]+")


def ranked(hits: Mapping[str, float], depth: int | None = None) -> list[tuple[str, float]]:
    """Documents of one query, best first; ties go to the greater document id, as in trec_eval."""
    return sorted(hits.items(), key=lambda hit: (hit[1], hit[0]), reverse=True)[:depth]


def without_same_ids(run: Run) -> Run:
    """Drop the hit that is the query itself (same id), the rule of data sets whose queries are documents."""
    return {query: {doc: score for doc, score in hits.items() if doc != query} for query, hits in run.items()}


def grade(value: Any) -> int:
    """A relevance as a whole number: "2" and 2.0 are 2, True is 1.

    Raises:
        InputError: it is no whole number, or one that can be no grade (a time stamp, a score of millions).
    """
    if type(value) is int and abs(value) <= HIGHEST_GRADE:
        return value
    number = _number(value)
    if not number.is_integer() and not math.isinf(number):  # so neither is NaN
        raise InputError(f"The relevance {value!r:.40} is not a whole number.")
    if abs(number) > HIGHEST_GRADE:
        raise InputError(
            f"A relevance of {number:g} is no grade: grades are whole numbers between -{HIGHEST_GRADE:,} and"
            f" {HIGHEST_GRADE:,}. Is it the right column?"
        )
    return int(number)


def score(value: Any) -> float:
    """A score as a number.

    Raises:
        InputError: it is none, or not finite.
    """
    number = _number(value)
    if not math.isfinite(number):
        raise InputError(f"The score {value!r:.40} is not a finite number.")
    return number


def is_number(text: str) -> bool:
    """Whether a text is a number by C's rules."""
    return _NUMBER.fullmatch(text.strip()) is not None


def _number(value: Any) -> float:
    """A number, or a text that is one by C's rules, not Python's (`1_000`); NaN for anything else."""
    if isinstance(value, str) and not is_number(value):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return math.nan


def is_run(value: Mapping[str, Any]) -> bool:
    """Whether a dict is query id -> document id -> score, not a dict of such dicts."""
    hits = next((hits for hits in value.values() if not isinstance(hits, Mapping) or hits), None)
    return isinstance(hits, Mapping) and not isinstance(next(iter(hits.values())), Mapping)


def as_run(run: Mapping[Any, Mapping[Any, Any]]) -> Run:
    """Take a run from a dict: ids become strings, scores floats.

    Raises:
        InputError: a score is not a finite number.
    """
    return {str(query): {str(doc): score(value) for doc, value in hits.items()} for query, hits in run.items()}


def require_run_ids(queries: Iterable[str], *documents: Iterable[str]) -> None:
    """Check that ids can be written to a run file and read again.

    Raises:
        InputError: an id is empty, holds white space, or is a query's and begins as a comment does.
    """
    for number, name in itertools.chain(
        ((0, name) for name in queries), ((1, name) for name in itertools.chain.from_iterable(documents))
    ):
        if not name or len(name.split()) != 1 or name != name.strip():
            raise InputError(f"The id '{name}' is empty or holds white space, so it cannot stand in a TREC run file.")
        if not number and name.startswith("#"):
            raise InputError(f"The query id '{name}' begins with #, so a TREC run file would take it for a comment.")


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
    """Read a TREC run file, gzipped or not, as trec_eval does: lines that begin with # and text behind the tag are skipped.

    Raises:
        InputError: the file is missing or empty, a line is not a TREC run line, or a query names a document twice.
    """
    run: Run = {}
    for number, line in trec_lines(Path(path), "a run file; name a file in TREC format"):
        fields = trec_fields(line)
        if len(fields) < 6:
            raise InputError(f"Line {number} of '{path}' is not a TREC run line 'query Q0 document rank score tag'.")
        query, document = fields[0], fields[2]
        hits = run.setdefault(query, {})
        if document in hits:
            raise InputError(f"Line {number} of '{path}' has the document '{document}' for the query '{query}' again.")
        try:
            hits[document] = score(fields[4])
        except InputError as error:
            raise InputError(f"Line {number} of '{path}': {error}") from None
    if not run:
        raise InputError(f"The run file '{path}' is empty.")
    return run


def trec_lines(path: Path, what: str) -> Iterator[tuple[int, str]]:
    """The lines of a file and their numbers, without comments (#) and empty lines.

    Raises:
        InputError: there is no such file, or it is not text.
    """
    if not path.is_file():
        raise InputError(f"'{path}' is not {what}.")
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip() and not line.lstrip().startswith("#"):
                yield number, line.rstrip("\r\n")


def trec_fields(line: str) -> list[str]:
    """The fields of a line, parted by ASCII's white space alone: an id may hold a no-break space."""
    return _FIELDS.findall(line)
