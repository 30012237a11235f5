"""CSV and TSV files: every cell a text, every row as wide as the header, a header told from a first row."""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TextIO

from hf_cocondenser.data.reading.names import ANSWERS, CONTENTS, IDS, PAIRS, QUERIES, QUERY_IDS, TITLES, canonical
from hf_cocondenser.data.reading.table import SAMPLE, Row, Table
from hf_cocondenser.data.reading.text_files import open_text
from hf_cocondenser.errors import InputError

_KNOWN = frozenset((*IDS, *QUERY_IDS, *TITLES, *CONTENTS, *QUERIES, *ANSWERS, *PAIRS))
_NAME = re.compile(r"[^\W\d][^\t\n\"]{0,40}(?<![.?!])|_id")  # what may head a column
_SIGNS = (",", ";", "\t", "|")
_LONGEST_CELL = 10_000  # lines of a cell in quotation marks, before it is said that it never ends

Record = tuple[int, list[str]]  # first line and cells


def delimited_table(path: Path, delimiter: str | None = None, wanted: Collection[str] = ()) -> Table:
    """The rows of a CSV or TSV file.

    Args:
        path: the file.
        delimiter: what stands between cells; by default the sign that cuts the first rows evenly.
        wanted: columns that the user names; the row that holds one is a header.

    Raises:
        InputError: the delimiter or the header cannot be told, or a name heads two columns.
    """
    if delimiter is None:
        delimiter = _delimiter(path, wanted)
    head = [cells for _, cells in islice(_records(path, delimiter), SAMPLE)]
    header = _header(path, head, wanted)
    if header is not None:
        doubled = [name for name, times in Counter(filter(None, header)).items() if times > 1]
        if doubled:
            raise InputError(f"'{path}' has two columns called '{doubled[0]}'; rename one of them.")
    widths = Counter(len(_stripped(cells)) for cells in head)
    width = max(widths, key=lambda width: (widths[width], width), default=1)  # of as many, the row with no empty cell
    names = header or [str(number) for number in range(1, width + 1)]
    return Table(str(path), partial(_rows, path, delimiter, names, header is not None), named=header is not None)


def _rows(path: Path, delimiter: str, names: list[str], header: bool) -> Iterator[Row]:
    for number, cells in islice(_records(path, delimiter), int(header), None):
        if len(cells) != len(names):
            cells, found = cells[: len(names)] + _stripped(cells[len(names) :]), len(cells)
            if len(cells) != len(names):
                raise InputError(
                    f"'{path}' line {number} has {found} cells where {'the header' if header else 'most rows'} "
                    f"{'has' if header else 'have'} {len(names)}; a cell that holds {delimiter!r} must stand in "
                    "quotation marks."
                )
        if any(cells):
            yield number, dict(zip(names, cells, strict=True))


def _stripped(cells: list[str]) -> list[str]:
    """The cells without empty ones at the end."""
    end = len(cells)
    while end and not cells[end - 1].strip():
        end -= 1
    return cells[:end]


def _header(path: Path, head: list[list[str]], wanted: Collection[str]) -> list[str] | None:
    """The names in the first row, or None where it is a row like the others.

    Raises:
        InputError: it may be either.
    """
    if not head:
        return None
    names = [cell.strip() for cell in _stripped(head[0])]
    if not names:
        return None
    cells = [name for name in names if name]
    columns = [[row[at].strip() for row in head[1:] if at < len(row) and row[at].strip()] for at in range(len(names))]
    known = {canonical(name) for name in cells}
    if names == [str(number) for number in range(len(names))] and len(names) > 1:
        return names  # how a data frame numbers its columns
    if known & {canonical(name) for name in wanted if not name.isdigit()}:
        return names
    if any(name.isdigit() for name in wanted) or not all(_NAME.fullmatch(c) and len(c.split()) < 5 for c in cells):
        return None
    if any(map(_alike, names, columns)):
        return None
    if known & _KNOWN:
        return names
    if any(map(_unlike, names, columns)):
        return names
    raise InputError(
        f"Whether the first row of '{path}' ({', '.join(cells)}) is a header cannot be told; name a column by it (such as "
        f"--text-column {cells[-1]!r} or --query-column {cells[0]!r}), or by its number where there is no header "
        "(--text-column 2)."
    )


def _shape(cell: str) -> str:
    """An id's build: "d1" and "d27" are both "a0"."""
    return re.sub(r"\d+", "0", re.sub(r"[^\W\d]+", "a", cell.strip()))


def _alike(name: str, column: list[str]) -> bool:
    """Whether a first cell is an id like those under it."""
    return any(map(str.isdigit, name)) and len(name.split()) == 1 and {_shape(name)} == set(map(_shape, column))


def _unlike(name: str, column: list[str]) -> bool:
    """Whether a first cell is unlike those under it: they are numbers, or much longer texts."""
    numbers = all(re.fullmatch(r"[-+\d.,:/ ]+", cell) for cell in column)
    texts = all(len(cell) > 3 * len(name) and len(cell.split()) > 4 for cell in column)
    return bool(column) and (numbers or texts)


def _delimiter(path: Path, wanted: Collection[str]) -> str:
    """The sign that cuts the first rows into equally many cells.

    Raises:
        InputError: several do.
    """
    _allow_long_cells()
    with open_text(path, newline="") as file:
        lines = [line for line in islice(file, SAMPLE) if line.strip()]
    even = []
    for sign in _SIGNS:
        widths = Counter(len(_stripped(cells)) for cells in csv.reader(lines, delimiter=sign) if any(cells))
        first = next(csv.reader(lines, delimiter=sign), [])
        if len(first) > 1:
            even.append((sign, len(widths) == 1, first))
    if len(even) > 1:
        names = {canonical(name) for name in wanted} | _KNOWN
        headed = [one for one in even if any(canonical(cell) in names for cell in one[2])]
        even = headed or even
    if len(even) > 1:
        regular = [one for one in even if one[1]]
        even = regular or even[:1]
    if len(even) > 1:
        signs = " and ".join(repr(sign) for sign, _, _ in even)
        raise InputError(f"'{path}' is cut evenly by {signs}; write it with a header, or as JSON lines.")
    return even[0][0] if even else ","


def _records(path: Path, delimiter: str) -> Iterator[Record]:
    _allow_long_cells()
    with open_text(path, newline="\n" if delimiter == "\t" else "") as file:
        yield from (_tabbed if delimiter == "\t" else _quoted)(path, file, delimiter)


def _allow_long_cells() -> None:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))


def _quoted(path: Path, file: TextIO, delimiter: str) -> Iterator[Record]:
    """Records as RFC 4180 has them; a quotation mark that swallows rows is refused."""
    lines: list[str] = []

    def kept() -> Iterator[str]:
        for line in file:
            lines.append(line)
            if len(lines) > _LONGEST_CELL:
                raise InputError(_unclosed(path, reader.line_num - len(lines) + 2))
            yield line

    reader = csv.reader(kept(), delimiter=delimiter, strict=True)
    start = 1
    while True:
        lines.clear()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            reason = "a quotation mark opens a cell and never closes it" if "end of data" in str(error) else str(error)
            raise InputError(
                f"'{path}' line {start} cannot be read ({reason}); a cell with quotation marks stands in quotation marks, and "
                'those within are doubled ("").'
            ) from None
        if cells is None:
            return
        if len(lines) > 1 and _swallowed(lines, len(cells), delimiter):
            raise InputError(_unclosed(path, start))
        if any(cells):
            yield start, cells
        start = reader.line_num + 1


def _unclosed(path: Path, line: int) -> str:
    return (
        f"'{path}' cannot be read: line {line} opens a cell with a quotation mark that takes the next rows with it; double "
        "the quotation marks of a text and put the cell in quotation marks."
    )


def _swallowed(lines: list[str], width: int, delimiter: str) -> bool:
    """Whether the further lines of a record look like rows of their own: as many cells, and an id of the same shape."""
    cut = [line.rstrip("\r\n").split(delimiter) for line in lines]
    shapes = {_shape(cells[0]) for cells in cut}
    return width > 1 and len(shapes) == 1 and {len(cells) for cells in cut} == {width}


def _tabbed(path: Path, file: TextIO, delimiter: str) -> Iterator[Record]:
    """Records of a TSV file: plain lines, or cells in quotation marks that may hold tabs, line ends and doubled marks.

    A quotation mark counts only where the cells would be too many or too few without it, or where it encloses another.
    """
    lines = enumerate(file, start=1)
    width, all_quoted = 0, False
    ahead = next(lines, None)
    while ahead is not None:
        number, line = ahead
        ahead = next(lines, None)
        line = line.rstrip("\r\n")
        if not line.strip():
            continue
        cells = line.split("\t")
        width = width or len(cells)
        if '"' in line:
            all_quoted = all_quoted or (width == len(cells) and number == 1 and all(map(_in_quotes, cells)))
            while (found := _unquoted(cells, line, width, all_quoted)) is None:
                alone = "\n" not in line and len(cells) == width
                if alone and (ahead is None or (width > 1 and ahead[1].count("\t") + 1 == width)):
                    found = cells
                    break
                if ahead is None or line.count("\n") > _LONGEST_CELL:
                    raise InputError(_unclosed(path, number))
                line = f"{line}\n{ahead[1].removesuffix(chr(10)).removesuffix(chr(13))}"
                ahead = next(lines, None)
            if not found:
                raise InputError(_unclosed(path, number))
            cells = found
        yield number, cells


def _in_quotes(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"'


def _unquoted(cells: list[str], line: str, width: int, all_quoted: bool) -> list[str] | None:
    """The cells of a line (or several) with quotation marks; None where one is still open, none where that is wrong."""
    try:
        parsed = next(csv.reader([line], delimiter="\t", strict=True))
    except csv.Error as error:
        return None if "end of data" in str(error) else [] if "\n" in line else cells
    if len(cells) != width or all_quoted or "\n" in line:
        return parsed
    if len(parsed) != len(cells):
        return cells
    return [
        inner if _in_quotes(cell) and (cell == '""' or '""' in cell[1:-1] or "\r" in cell) else cell
        for cell, inner in zip(cells, parsed, strict=True)
    ]
