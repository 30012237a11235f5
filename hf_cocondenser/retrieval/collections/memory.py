"""Ids, texts and judgements that a user has in memory, checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.judgements import Judgement


def as_id(value: Any) -> str:
    """An id as a string.

    Raises:
        InputError: it is neither a string nor a whole number, or empty.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | np.integer) or not str(value).strip():
        raise InputError(f"{value!r:.60} is no id; an id is a string or a whole number.")
    return str(value).strip()


def as_text(value: Any) -> str:
    """A text.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(value, str):
        raise InputError(f"{value!r:.60} is no text; give every document and query as a string.")
    return value


def judgements_of_dicts(qrels: Mapping[Any, Any]) -> Iterator[Judgement]:
    """(query id, document id, relevance) of query id -> {document id: relevance}, or -> relevant documents.

    Raises:
        InputError: an id is none, or the judgements of a query are something else.
    """
    if not isinstance(qrels, Mapping):
        raise InputError(f"Judgements are a dict query id -> relevant documents, not {type(qrels).__name__}.")
    for query, judged in qrels.items():
        if isinstance(judged, str | int):
            judged = [judged]
        if not isinstance(judged, Mapping | list | tuple | set | frozenset):
            raise InputError(
                f"The judgements of query {query!r} are {judged!r:.60}, not the documents relevant to it."
            )
        grades = judged if isinstance(judged, Mapping) else dict.fromkeys(judged, 1)
        for document, relevance in grades.items():
            yield as_id(query), as_id(document), relevance
