"""Plain text: a line, a paragraph or a file is a row; a file of a folder is called by its path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hf_cocondenser.data.reading.table import Row, Table
from hf_cocondenser.data.reading.text_files import open_text

TEXT_DOCUMENTS = ("line", "paragraph", "file")
_BLANK_LINES = re.compile(r"\n[ \t\r]*\n\s*")
_HEADING = re.compile(
    r"\s*(?:---\n.*?\n---\n\s*)?(?:#+[ \t]+(.+?)[ \t#]*$|(\S.*)\n([=*~^#-])\3{2,}[ \t]*$)", re.MULTILINE | re.DOTALL
)


def text_table(path: Path, unit: str = "line", folder: Path | None = None) -> Table:
    """The rows of a text file, with the column `text`; a file of `folder` has its path there as `_id` and its heading."""
    return Table(str(path), partial(_rows, path, unit, folder))


def _rows(path: Path, unit: str, folder: Path | None) -> Iterator[Row]:
    with open_text(path, newline="\n") as file:
        if unit == "line":
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, {"text": line.rstrip("\r\n")}
            return
        text = file.read().replace("\r\n", "\n").strip("\n")
    if unit == "paragraph":
        yield from enumerate(({"text": part} for part in _BLANK_LINES.split(text) if part.strip()), start=1)
    elif text.strip():
        row = {"text": text}
        if folder is not None:
            row = {"_id": path.relative_to(folder).as_posix(), "title": heading(text), **row}
        yield 1, row


def heading(text: str) -> str:
    """The heading that a text begins with, in Markdown or reStructuredText; else nothing."""
    match = _HEADING.match(text)
    return (match[1] or match[2] or "").strip() if match else ""
