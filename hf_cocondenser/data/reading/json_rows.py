"""JSON lines and JSON arrays, value by value and as they are written: nothing is taken for a date or rounded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from hf_cocondenser.data.reading.table import Row, Table
from hf_cocondenser.data.reading.text_files import open_text
from hf_cocondenser.data.reading.values import Number
from hf_cocondenser.errors import InputError

_BLANK = re.compile(r"[ \t\r\n]*")


def json_table(path: Path) -> Table:
    """The rows of a file of JSON lines (objects, or lists such as `["question", "answer"]`) or of one JSON array."""
    with open_text(path) as file:
        first, second = islice(chain((line.strip() for line in file if line.strip()), ("", "")), 2)
    alone = not second and ".json" in map(str.lower, path.suffixes)  # a list of texts, not one row of a file of lists
    if first.startswith("[") and (alone or re.match(r"\[\s*([\[{\]]|$)", first) or not _is_whole(first)):
        return Table(
            str(path), partial(_rows, path, _array_values, "entry"), "entry", "{" in first[:80] or first == "["
        )
    return Table(str(path), partial(_rows, path, _line_values, "line"), named=first.startswith("{"))


def _rows(path: Path, read: Callable[[Path], Iterator[tuple[int, Any]]], unit: str) -> Iterator[Row]:
    kind: type | None = None
    for number, value in read(path):
        kind = kind or type(value)
        if kind not in (dict, list, str) or type(value) is not kind:
            raise InputError(
                f"'{path}' {unit} {number} is not {_WORDS.get(kind, 'a JSON object')}: {str(value)[:60]!r}."
            )
        if kind is not dict:
            value = {str(column): cell for column, cell in enumerate(value if kind is list else [value], start=1)}
        yield number, value


_WORDS: dict[type | None, str] = {list: "a JSON list like the first one", str: "a text like the first one"}


def _line_values(path: Path) -> Iterator[tuple[int, Any]]:
    with open_text(path, newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, _decoded(path, line.strip(), number)


def _array_values(path: Path) -> Iterator[tuple[int, Any]]:
    """The values of an array, one after the other: the text is held in memory, what it says is not."""
    with open_text(path, newline="\n") as file:
        text = file.read()
    at = _skip(text, _skip(text, 0) + 1)
    number = 0
    while text[at : at + 1] != "]":
        number += 1
        value, at = _raw_decoded(path, text, at)
        yield number, value
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] != "]":
            raise _invalid(path, json.JSONDecodeError("Expecting ',' or ']'", text, at))
    if _skip(text, at + 1) != len(text):
        raise _invalid(path, json.JSONDecodeError("Extra data behind the array", text, at + 1))


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise KeyError(next(name for name in names if names.count(name) > 1))
    return found


def _nothing(name: str) -> None:
    """NaN and the infinities, which data frames write where a value is missing."""


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=Number, parse_float=Number, parse_constant=_nothing)


def _is_whole(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _decoded(path: Path, line: str, number: int) -> Any:
    value, end = _raw_decoded(path, line, 0, number)
    if end != len(line):
        raise _invalid(path, json.JSONDecodeError("Extra data", line, end), number)
    return value


def _raw_decoded(path: Path, text: str, at: int, number: int | None = None) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise _invalid(path, error, number) from None
    except (RecursionError, KeyError) as error:
        line = number or text.count("\n", 0, at) + 1
        reason = "is nested too deeply" if isinstance(error, RecursionError) else f"has the key {error} twice"
        raise InputError(f"'{path}' line {line} {reason}.") from None


def _invalid(path: Path, error: json.JSONDecodeError, number: int | None = None) -> InputError:
    return InputError(
        f"'{path}' line {number or error.lineno} is not valid JSON ({error.msg}, column {error.colno}); a file of JSON "
        "holds one object a line, or one array of objects."
    )
