"""Judgements: reading their files, and what is counted of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hf_cocondenser.data.reading.files import ARROW, CSV, JSON, kind_of
from hf_cocondenser.data.reading.names import columns_of, known_columns
from hf_cocondenser.data.reading.table import Row, Table
from hf_cocondenser.data.reading.tables import memory_table, open_file
from hf_cocondenser.data.reading.values import identifier_of
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.runs import Qrels, grade, is_number, trec_fields, trec_lines

logger = logging.getLogger(__name__)

Judgement = tuple[str, str, Any]
"""Query id, document id, relevance."""

_QUERY = ("queryid", "qid", "topicid", "topicno", "topic", "questionid", "query", "question")
_DOCUMENT = (
    "corpusid", "docid", "docno", "documentid", "did", "pid", "passageid", "psgid", "corduid", "document", "doc", "passage",
)  # fmt: skip
_RELEVANCE = (
    "score",
    "relevance",
    "relevancy",
    "relevancescore",
    "rel",
    "label",
    "grade",
    "judgment",
    "judgement",
    "rating",
    "relevant",
)


def read_qrels(source: Any) -> Iterator[Judgement]:
    """(query id, document id, relevance) of judgements.

    The columns are known by their names. Without a header they are query, document and relevance (BEIR), TREC's `query 0
    document relevance`, or `query document type relevance`, parted by tabs or blanks; lines that begin with # are
    comments, as in trec_eval.

    Args:
        source: a file (TSV, TREC's, CSV, JSON lines, Parquet; also .gz), a data set or rows in memory.

    Raises:
        InputError: it is missing or empty, its columns cannot be told, or a relevance is no grade.
    """
    if not isinstance(source, str | Path):
        table = memory_table(source, "the judgements")
    elif kind_of(Path(source)) in (JSON, CSV, ARROW) and Path(source).is_file():
        table = open_file(Path(source))
    else:
        table = _trec_table(Path(source))
    sample = table.sample()
    there = columns_of(sample)
    query, document, relevance = _named(table, there) if table.named else _unnamed(table, sample)
    for number, row in table.rows():
        place = table.place(number)
        if len(row) != len(there) and not table.named:
            raise InputError(f"{place} has {len(row)} columns, and the first row {len(there)}.")
        try:
            value = grade(row.get(relevance))
        except InputError as error:
            raise InputError(f"{place}: {error}") from None
        yield identifier_of(row.get(query), place, query), identifier_of(row.get(document), place, document), value


def _trec_table(path: Path) -> Table:
    what = "a file of judgements; name one with the columns query-id, corpus-id and score"
    _, first = next(trec_lines(path, what), (0, ""))
    head = _cells(first)
    named = bool(head) and not is_number(head[-1]) and len(_known(head)) > 1

    def rows() -> Iterator[Row]:
        for number, line in trec_lines(path, what):
            cells = _cells(line)
            if named and cells == head:
                continue
            if named and len(cells) != len(head):
                raise InputError(f"'{path}' line {number} has {len(cells)} columns, and the header {len(head)}.")
            yield number, dict(zip(head if named else map(str, range(1, len(cells) + 1)), cells, strict=True))

    return Table(str(path), rows, named=named)


def _cells(line: str) -> list[str]:
    """The columns of a line: parted by tabs where that gives three or four, else by blanks."""
    cells = [cell.strip() for cell in line.rstrip().split("\t")]
    return cells if 3 <= len(cells) <= 4 else trec_fields(line)


def _known(there: Iterable[str]) -> list[str]:
    found = (known_columns(there, names) for names in (_QUERY, _DOCUMENT, _RELEVANCE))
    return [names[0] for names in found if names]


def _named(table: Table, there: list[str]) -> list[str]:
    if len(_known(there)) < 3:
        raise InputError(
            f"'{table.name}' has not the columns query-id, corpus-id and score; there are {', '.join(there)}."
        )
    return _known(there)


def _unnamed(table: Table, sample: list[dict[str, Any]]) -> tuple[str, str, str]:
    """The columns of a file without a header, by their number."""
    width = len(sample[0])
    if width not in (3, 4):
        raise InputError(
            f"'{table.name}' is not a file of judgements: its first row has {width} columns, not query, document and "
            "relevance, nor TREC's four."
        )
    if width == 3:
        return "1", "2", "3"
    second, third = ({str(row.get(column)) for row in sample} for column in "23")
    iterations, numbers = (all(value.isdigit() or value == "Q0" for value in values) for values in (second, third))
    if iterations and not numbers:  # TREC's iteration is a number, and a type is none
        return "1", "3", "4"
    fewer = len(second) - len(third)  # a type has fewer values than documents
    return ("1", "2", "4") if fewer > 0 or (fewer == 0 and not iterations) else ("1", "3", "4")


_TOLD = {
    "judgements_of_unknown_queries": "they are left out",
    "judgements_of_unknown_documents": "a retriever cannot find them, and measures count them as missed",
    "contradicting_judgements": "the last one of a query and document counts",
}


def clean_judgements(
    name: str,
    split: str,
    judgements: Iterable[Judgement],
    corpus: Mapping[str, str],
    queries: Mapping[str, str],
    counts: dict[str, int],
) -> Qrels:
    """Collect judgements, and count and tell what is unusual about them.

    Args:
        name: of the data set.
        split: of the judgements.
        judgements: in any order.
        corpus: whose keys are the document ids.
        queries: whose keys are the query ids; judgements of others are left out.
        counts: gets the numbers.

    Raises:
        InputError: there is no judgement, none names a known query and document, or a relevance is no grade.
    """
    found: Counter[str] = Counter()
    example: dict[str, str] = {}

    def known() -> Iterator[Judgement]:
        for query, document, relevance in judgements:
            found["all"] += 1
            query, document = query.strip(), document.strip()
            if query not in queries:
                found["judgements_of_unknown_queries"] += 1
                example.setdefault("judgements_of_unknown_queries", query)
                continue
            if document not in corpus:  # it stays a part of the ideal ranking
                found["judgements_of_unknown_documents"] += 1
                example.setdefault("judgements_of_unknown_documents", document)
            yield query, document, relevance

    qrels = _collect(known(), found)
    if not found["all"]:
        raise InputError(f"The '{split}' judgements of '{name}' are empty.")
    if not any(document in corpus for judged in qrels.values() for document in judged):
        unknown = next(iter(example.values()))
        raise InputError(
            f"None of the {found['all']} '{split}' judgements of '{name}' names a known query and document"
            f" (there is no '{unknown}'); check that corpus, queries and qrels belong together."
        )
    relevances = [relevance for judged in qrels.values() for relevance in judged.values()]
    counts["judgements"] = len(relevances)
    for key in (*_TOLD, "repeated_judgements"):
        counts[key] = found[key]
    counts["zero_judgements"] = sum(relevance <= 0 for relevance in relevances)
    counts["graded_judgements"] = sum(relevance > 1 for relevance in relevances)
    counts["queries_without_relevant"] = sum(max(judged.values()) <= 0 for judged in qrels.values())
    _tell(name, found, example)
    return qrels


def qrels_alone(name: str, judgements: Iterable[Judgement]) -> Qrels:
    """Judgements without the queries and the corpus that they are of.

    Raises:
        InputError: there are none, or a relevance is no grade.
    """
    found: Counter[str] = Counter()
    qrels = _collect(judgements, found)
    _tell(name, found, {})
    return qrels


def _collect(judgements: Iterable[Judgement], found: Counter[str]) -> Qrels:
    qrels: Qrels = {}
    for query, document, value in judgements:
        judged, relevance = qrels.setdefault(query, {}), grade(value)
        found["repeated_judgements"] += document in judged
        found["contradicting_judgements"] += judged.get(document, relevance) != relevance
        judged[document] = relevance  # the last one counts
    return qrels


def _tell(name: str, found: Mapping[str, int], example: Mapping[str, str]) -> None:
    for key, meaning in _TOLD.items():
        if found.get(key):
            which = f", such as '{example[key]}'" if key in example else ""
            logger.warning("%s: %s %s%s: %s.", name, f"{found[key]:,}", key.replace("_", " "), which, meaning)
