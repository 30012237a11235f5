"""Pairs of a query and a passage that answers it, from every shape that training files of the field have."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hf_cocondenser.data.reading.files import JSON, kind_of
from hf_cocondenser.data.reading.names import (
    ANCHORS,
    CONTENTS,
    IDS,
    LABELS,
    POSITIVES,
    QUERY_IDS,
    TITLES,
    canonical,
    columns_of,
    first_usable,
    known_columns,
    last_word,
    log_choice,
    named_column,
)
from hf_cocondenser.data.reading.table import Table
from hf_cocondenser.data.reading.tables import Source, open_tables
from hf_cocondenser.data.reading.values import is_link, is_prose, text_of
from hf_cocondenser.errors import InputError

logger = logging.getLogger(__name__)

_NEGATIVE = re.compile(
    r"(hard|easy|bm25)?neg(ative)?s?(passages?|documents?|docs?|ctxs?|contexts?|texts?|answers?)?\d*|rejected"
)
_AGAINST = re.compile(r"(hard|easy|bm25)?neg|reject|contradict|incorrect|wrong|irrelevant|distractor")
_NO_TEXT = frozenset(
    (
        "id",
        "ids",
        "key",
        "url",
        "uri",
        "link",
        "date",
        "time",
        "lang",
        "language",
        "source",
        "type",
        "tags",
        "category",
    )
)
_SETS = ("set", "texts")
_YES, _NO = ("1", "1.0", "true"), ("0", "0.0", "false")


@dataclass(frozen=True)
class SourcePair:
    """A query, the passages that answer it and passages that do not."""

    query: str
    positives: list[str]
    negatives: list[str]


@dataclass(frozen=True)
class PairColumns:
    """The columns of one table; `label` says which of the positives are ones, where there is such a column."""

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    label: str | None = None


@dataclass(frozen=True)
class PairTables:
    """The tables of a source whose columns are chosen; iterating reads its pairs from the first one."""

    name: str
    tables: list[tuple[Table, PairColumns]]

    def __iter__(self) -> Iterator[SourcePair]:
        """Read the pairs; rows without a query or without a positive are left out and counted.

        Raises:
            InputError: a row cannot be read, or no row is a pair.
        """
        counts: Counter[str] = Counter()
        for table, columns in self.tables:
            for line, row in table.rows():
                pair, lacking = _pair(row, columns, table.place(line))
                counts[lacking] += 1
                if pair is not None:
                    yield pair
        pairs = counts.pop("", 0)
        if not pairs:
            raise InputError(f"'{self.name}' has no pair with a question and an answer.")
        if counts:
            told = ", ".join(f"{number:,} {reason}" for reason, number in counts.items())
            logger.warning("%s: %s pairs are read; rows left out: %s.", self.name, f"{pairs:,}", told)


def read_pairs(
    source: Source,
    query_column: str | None = None,
    positive_column: str | None = None,
    negative_column: str | None = None,
) -> PairTables:
    """Open a source of pairs and choose its columns; what is returned reads the pairs whenever it is iterated.

    Args:
        source: see `open_tables`; objects under the names of Tevatron, DPR, FlagEmbedding, sentence-transformers, MS MARCO
            and SQuAD, tables of two texts with or without a label of 0 and 1, lists of two or three texts, `{"set": [...]}`.
        query_column, positive_column, negative_column: those that the user names.

    Raises:
        InputError: the source cannot be read, or its columns cannot be told.
    """
    wanted = [name for name in (query_column, positive_column, negative_column) if name]
    tables = open_tables(source, wanted=wanted)
    chosen = [(table, _choose(table, query_column, positive_column, negative_column)) for table in tables]
    return PairTables(tables[0].name if len(tables) == 1 else str(source), chosen)


def _choose(table: Table, query: str | None, positive: str | None, negative: str | None) -> PairColumns:
    sample = table.sample()
    there = columns_of(sample)
    named = query and named_column(table, there, query, "--query-column")
    answer = positive and named_column(table, there, positive, "--positive-column")
    against = tuple(named_column(table, there, name, "--negative-column") for name in [negative] if name)
    sets = known_columns(there, _SETS) if table.named and not (named or answer) else []
    if sets and all(isinstance(row.get(sets[0]), list) for row in sample) and not known_columns(there, ANCHORS):
        return PairColumns(sets[0], sets[0])
    if table.named:
        against = against or tuple(name for name in there if _NEGATIVE.fullmatch(canonical(name)) and name != answer)
        left = [name for name in there if name not in (named, answer, *against)]
        named = named or first_usable(known_columns(left, ANCHORS), sample, is_prose)
        left = [name for name in left if name != named]
        answer = answer or _first_with_text(known_columns(left, POSITIVES), sample)
        named, answer = _only_ones_left(left, sample, named, answer)
    elif not (named and answer):
        named, answer, against = _numbered(table, there, sample)
    if not named or not answer or named == answer:
        raise InputError(
            f"Which columns of '{table.name}' hold queries and their answers cannot be told; there are {', '.join(there)}: "
            "name them (--query-column, --positive-column)."
        )
    if not any(passage_texts(row.get(answer)) for row in sample) or _all_links(sample, answer):
        odd = next((row[answer] for row in sample if row.get(answer)), None)
        if odd is not None:
            raise InputError(f"The column '{answer}' of '{table.name}' holds no texts, but {str(odd)[:60]!r}.")
    label = None if positive else _label(table, there, sample, (named, answer, *against))
    log_choice(
        table,
        sample[0],
        {"query": named, "positive": answer, "negative": against[0] if against else None, "label": label},
        there,
    )
    return PairColumns(named, answer, against, label)


def _all_links(sample: Sequence[dict[str, Any]], column: str) -> bool:
    return all(is_link(text) for row in sample for text in passage_texts(row.get(column)))


def _first_with_text(columns: Sequence[str], sample: Sequence[dict[str, Any]]) -> str | None:
    used = (column for column in columns if any(passage_texts(row.get(column)) for row in sample))
    return next(used, columns[0] if columns else None)


def _only_ones_left(
    left: Sequence[str], sample: Sequence[dict[str, Any]], query: str | None, positive: str | None
) -> tuple[str | None, str | None]:
    """Take columns of other names for what is lacking, where there are exactly as many with texts."""
    lacking = [query, positive].count(None)
    known = {*IDS, *QUERY_IDS, *LABELS, *TITLES}
    texts = [
        column
        for column in left
        if column not in (query, positive)
        and canonical(column) not in known
        and not _AGAINST.match(canonical(column))
        and last_word(column) not in _NO_TEXT
        and any(is_prose(row.get(column)) for row in sample)
        and not (lacking == 1 and _holds_codes(sample, column))
    ]
    if lacking and len(texts) == lacking:
        query = query or texts.pop(0)
        positive = positive or texts.pop(0)
    return query, positive


def _numbered(
    table: Table, there: Sequence[str], sample: Sequence[dict[str, Any]]
) -> tuple[str | None, str | None, tuple[str, ...]]:
    """The columns of lists of two or three texts, or of a file of two columns without a header."""
    lists = table.path is None or kind_of(table.path) == JSON
    if not (len(there) == 2 or (lists and len(there) == 3)):
        return None, None, ()
    for column in there:
        if not any(is_prose(row.get(column)) for row in sample) or all(_is_code(row.get(column)) for row in sample):
            return None, None, ()
    return "1", "2", ("3",) if len(there) == 3 else ()


def _holds_codes(sample: Sequence[dict[str, Any]], column: str) -> bool:
    """Whether a column holds words of a list, such as names and classes, and no sentences."""
    values = [value for row in sample if isinstance(value := row.get(column), str) and value.strip()]
    return bool(values) and all(value.isascii() and len(value.split()) == 1 for value in values)


def _is_code(value: Any) -> bool:
    """Whether a cell may be an id: one word with a digit."""
    return isinstance(value, str) and len(value.split()) == 1 and any(map(str.isdigit, value))


def _label(table: Table, there: Sequence[str], sample: Sequence[dict[str, Any]], taken: Sequence[str]) -> str | None:
    """The column that says which passages answer, if there is one.

    Raises:
        InputError: it does not say so by 0 and 1.
    """
    if canonical(taken[1]).startswith("pos"):
        return None
    label = next((column for column in known_columns(there, LABELS) if column not in taken), None)
    if label is None:
        return None
    for row in sample:
        value = row.get(label)
        for one in value if isinstance(value, list) else [value]:
            _matches(one, label, f"'{table.name}'")
    return label


def _matches(label: Any, column: str, place: str) -> bool:
    """Whether a label says that a passage answers; one that is missing does not.

    Raises:
        InputError: it says neither yes nor no.
    """
    word = "" if label is None else str(label).strip().lower()
    if word and word not in (*_YES, *_NO):
        raise InputError(
            f"The column '{column}' of {place} grades its pairs ({word[:20]!r}); keep the pairs that match, or name the "
            "columns to train on all of them (--query-column, --positive-column)."
        )
    return word in _YES


def _is_yes(value: Any) -> bool:
    return str(value).strip().lower() in _YES


def _pair(row: Mapping[str, Any], columns: PairColumns, place: str) -> tuple[SourcePair | None, str]:
    """The pair of a row, or why there is none."""
    if columns.query == columns.positive:  # a set of texts that all mean the same
        texts = passage_texts(row.get(columns.query))
        return (SourcePair(texts[0], texts[1:], []), "") if len(texts) > 1 else (None, "of fewer than two texts")
    query = " ".join(passage_texts(row.get(columns.query)))
    value = row.get(columns.positive)
    for cell in (value, *(row.get(column) for column in columns.negatives)):
        if isinstance(cell, list) and any(isinstance(part, list) for part in cell):
            raise InputError(f"{place} has lists within its list of passages; give every passage as one text.")
    negatives = [text for column in columns.negatives for text in passage_texts(row.get(column))]
    if columns.label is not None:
        label = row.get(columns.label)
        if isinstance(label, list):
            if not isinstance(value, list) or len(label) != len(value):
                raise InputError(f"{place} has {len(label)} labels, and other than so many passages.")
            labels = [(part, one, _matches(one, columns.label, place)) for part, one in zip(value, label, strict=True)]
            negatives += passage_texts([part for part, one, yes in labels if not yes and one is not None])
            value = [part for part, _, yes in labels if yes]
        elif not _matches(label, columns.label, place):
            return None, f"whose '{columns.label}' is not 1"
    positives = passage_texts(value)
    if not query:
        return None, "without a query"
    if not positives:
        first = value[0] if value and isinstance(value, list) else None
        if isinstance(first, Mapping) and not known_columns(first, CONTENTS):
            raise InputError(f"{place} has passages without a text, only {', '.join(map(str, first))}.")
        return None, "without a positive"
    return SourcePair(query, positives, negatives), ""


def passage_texts(value: Any) -> list[str]:
    """The texts in a cell: of a text, of passages with title and text, of lists of them; of selected ones only."""
    if isinstance(value, list | tuple):
        return [text for part in value for text in passage_texts(part)]
    if isinstance(value, Mapping):
        selected = next((value[name] for name in known_columns(value, ("isselected",))), None)
        content = next((value[name] for name in known_columns(value, CONTENTS)), None)
        if isinstance(content, list):
            keep = selected if isinstance(selected, list) and len(selected) == len(content) else ["1"] * len(content)
            return passage_texts([part for part, one in zip(content, keep, strict=True) if _is_yes(one)])
        if selected is not None and not _is_yes(selected):
            return []
        title = next((text_of(value[name]) or "" for name in known_columns(value, TITLES)), "").strip()
        return [f"{title} {text}".strip() for text in passage_texts(content)]
    text = (text_of(value) or "").strip()
    return [text] if text else []
