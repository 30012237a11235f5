"""The names under which the field's files keep ids, texts, titles and queries, and the choice of a column."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hf_cocondenser.data.reading.table import Table
from hf_cocondenser.data.reading.values import text_of
from hf_cocondenser.errors import InputError

logger = logging.getLogger(__name__)

# Names without regard to case and punctuation: "docid" stands for docId, doc_id, doc-id and DOCID too.
IDS = (
    "id", "docid", "docno", "documentid", "pid", "passageid", "psgid", "corpusid", "chunkid", "did", "corduid", "uid",
    "uuid", "guid", "identifier", "docidentifier", "articleid", "paragraphid", "contextid", "textid", "pmid", "key",
)  # fmt: skip
QUERY_IDS = (
    "id", "qid", "queryid", "questionid", "topicid", "topicno", "num", "number", "topic", "uid", "uuid", "guid",
    "identifier", "key",
)  # fmt: skip
TITLES = ("title", "doctitle", "documenttitle", "articletitle", "pagetitle", "headline", "heading", "wikititle")
CONTENTS = (
    "passages", "text", "contents", "content", "body", "passage", "document", "passagetext", "documenttext", "doctext",
    "fulltext", "paragraphs", "paragraph", "sections", "chunk", "chunktext", "segment", "article", "abstract", "context",
    "maintext", "rawtext", "pagecontent", "texts",
)  # fmt: skip
QUERIES = (
    "query", "question", "querytext", "questiontext", "querystring", "text", "title", "utterance", "claim", "topictitle",
    "content", "contents", "sentence",
)  # fmt: skip
ANSWERS = ("answers",)
ANCHORS = (
    "query", "question", "anchor", "querytext", "questiontext", "querystring", "sentence1", "sentence0", "text1", "q",
    "question1", "claim", "premise", "prompt", "instruction", "input", "title",
)  # fmt: skip
POSITIVES = (
    "positivepassages", "positivectxs", "positive", "positives", "pos", "positivepassage", "positivedocument",
    "positivedocuments", "positivedoc", "positivedocs", "posdocs", "positivetext", "postext", "positivecontext",
    "positivecontexts", "chosen", "passages", "passage", "documents", "document", "docs", "doc", "passagetext",
    "context", "contexts", "answer",
    "answers", "response", "reply", "body", "text", "contents", "content", "abstract", "sentence2", "text2", "question2",
    "completion", "output", "a",
)  # fmt: skip
LABELS = (
    "label", "labels", "goldlabel", "isduplicate", "duplicate", "isselected", "isrelevant", "relevant", "relevance",
    "similarity", "similarityscore", "score", "scores", "grade", "rating", "target", "match", "ismatch",
)  # fmt: skip
PAIRS = (*ANCHORS, *POSITIVES, *LABELS, "negative", "negatives", "neg")


def canonical(name: str) -> str:
    """A column's name without case, blanks and punctuation."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def last_word(name: str) -> str:
    """The last word of a column's name: "id" of doc_id and docId, "said" of said."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+|[^\W_]+", name)
    return words[-1].lower() if words else ""


def known_columns(there: Iterable[str], known: Sequence[str]) -> list[str]:
    """The columns whose names are known, in the order of `known`; of one name in two spellings, "_id" comes first."""
    order = {name: number for number, name in enumerate(known)}
    found = [column for column in there if canonical(column) in order]
    return sorted(found, key=lambda column: (order[canonical(column)], column != "_id", column != column.lower()))


def columns_of(rows: Iterable[dict[str, Any]]) -> list[str]:
    """All columns of some rows, in order."""
    return list(dict.fromkeys(column for row in rows for column in row))


def named_column(table: Table, there: Sequence[str], wanted: str, flag: str) -> str:
    """The column that the user names.

    Raises:
        InputError: the table has no such column.
    """
    found = [column for column in there if column == wanted]
    found = found or [column for column in there if canonical(column) == canonical(wanted)]
    if not found:
        hint = "" if table.named else " (it has no header, so its columns are numbered)"
        raise InputError(f"'{table.name}' has no column '{wanted}' ({flag}); there are {', '.join(there)}{hint}.")
    return found[0]


def first_usable(columns: Sequence[str], rows: Sequence[dict[str, Any]], usable: Callable[[Any], bool]) -> str | None:
    """The first of the columns that has something usable in the rows; where none has, the first."""
    used = (column for column in columns if any(usable(row.get(column)) for row in rows))
    return next(used, columns[0] if columns else None)


def looks_like_ids(rows: Sequence[dict[str, Any]], column: str) -> bool:
    """Whether every row has another value there, without blanks inside, or none."""
    values = [value for row in rows if (value := (text_of(row.get(column)) or "").strip())]
    return 0 < len(values) == len(set(values)) and not any(len(value.split()) > 1 for value in values)


def choose_id(
    table: Table,
    sample: list[dict[str, Any]],
    there: list[str],
    wanted: str | None,
    content: str,
    title: str | None,
    known: tuple[str, ...] = IDS,
    flag: str = "--id-column",
) -> str | None:
    """The column of ids, of several the first with another id in every row; None where there is none.

    Raises:
        InputError: there is no column `wanted`.
    """
    if wanted:
        return named_column(table, there, wanted, flag)
    if not table.named:
        return "1" if content != "1" and looks_like_ids(sample, "1") else None
    candidates = [column for column in known_columns(there, known) if column not in (content, title)]
    unique = [column for column in candidates if looks_like_ids(sample, column)]
    if candidates:
        return (unique or candidates)[0]
    left = [
        column
        for column in there
        if column not in (content, title)
        and (last_word(column) in ("id", "ids", "no", "key") or (len(sample) > 1 and looks_like_ids(sample, column)))
    ]
    if left:
        logger.warning(
            "%s: rows are numbered; if the column '%s' holds their ids, name it (%s).", table.name, left[0], flag
        )
    return None


def log_choice(table: Table, row: dict[str, Any], chosen: dict[str, str | None], there: list[str]) -> None:
    """Log which columns were chosen, with one example."""
    told = ", ".join(
        f"{role} {column!r} ({(text_of(row.get(column)) or str(row.get(column)))[:40]!r})"
        for role, column in chosen.items()
        if column is not None
    )
    unused = [column for column in there if column not in chosen.values()]
    logger.info("%s: %s%s.", table.name, told, f"; not used: {', '.join(unused[:8])}" if unused else "")
