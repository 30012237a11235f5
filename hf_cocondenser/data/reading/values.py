"""Values of a row as text, by one rule for every form of file: nothing is guessed, rounded or reformatted."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from typing import Any

from hf_cocondenser.data.surrogates import without_lone_surrogates
from hf_cocondenser.errors import InputError

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_LINK = re.compile(r"(https?|ftp|file)://\S+$|www\.\S+$")


class Number(str):
    """A number of a JSON file, as it is written there."""


def text_of(value: Any) -> str | None:
    """A value as text; None where there is nothing, or no text.

    Strings stay as they are, but for half characters. Numbers stand as they are written, dates in ISO's form.
    """
    if value is None or isinstance(value, bool) or value != value:  # NaN is how a data frame says "nothing"
        return None
    if isinstance(value, str):
        return without_lone_surrogates(str(value))
    if isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    return None


def is_missing(value: Any) -> bool:
    """Whether a cell holds nothing."""
    return value is None or (isinstance(value, float) and value != value)


def texts_of(value: Any, place: str, column: str) -> list[str]:
    """The text, or the list of texts, of a cell; nothing gives an empty list.

    Raises:
        InputError: it holds something else.
    """
    if is_missing(value):
        return []
    parts = value if isinstance(value, list | tuple) else [value]
    texts = [text_of(part) for part in parts if not is_missing(part)]
    if None in texts:
        raise InputError(f"The column '{column}' of {place} holds {str(value)[:60]!r} instead of text.")
    return [text for text in texts if text is not None]


def identifier_of(value: Any, place: str, column: str) -> str:
    """The id in a cell, without blanks around it.

    Raises:
        InputError: there is none.
    """
    identifier = (text_of(value) or "").strip()
    if not identifier:
        raise InputError(f"{place} has no id in the column '{column}'; give every row an id.")
    return identifier


def is_link(text: str) -> bool:
    """Whether a text is the address of a page or a file, and nothing else."""
    return _LINK.match(text.strip()) is not None


def is_prose(value: Any) -> bool:
    """Whether a cell may hold what people read: a text, or a list of them, that is no number and no link."""
    if isinstance(value, list | tuple):
        return any(is_prose(part) for part in value)
    value = text_of(value) if isinstance(value, bytes) else value
    return (
        isinstance(value, str)
        and not isinstance(value, Number)
        and bool(value.strip())
        and not _NUMBER.fullmatch(value.strip())
        and not is_link(value)
    )
