"""Which files of a source hold its rows, and of what form they are; what is left out is said."""

from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path

from hf_cocondenser.errors import InputError

logger = logging.getLogger(__name__)

JSON, CSV, TSV, ARROW, TEXT = "json", "csv", "tsv", "arrow", "text"
KINDS = {
    ".jsonl": JSON,
    ".ndjson": JSON,
    ".json": JSON,
    ".csv": CSV,
    ".tsv": TSV,
    ".tab": TSV,
    ".parquet": ARROW,
    ".arrow": ARROW,
    ".feather": ARROW,
    ".txt": TEXT,
    ".text": TEXT,
    ".md": TEXT,
    ".markdown": TEXT,
    ".rst": TEXT,
}
_SAYS_NOTHING = re.compile(r"|\.(\d+|xml|sgml|topics|gz)")  # suffixes of files whose beginning tells the form
_DOCUMENTS = ("documents", "corpus")  # what BEIR, and the quickstart, call the file of documents
_OTHERS = re.compile(r"(queries|topics|qrels)\b", re.IGNORECASE)  # files beside documents that hold something else
_ABOUT = re.compile(
    r"(requirements.*|licen[sc]e.*|copying.*|cmakelists|robots)\.txt|(readme|licen[sc]e).*", re.IGNORECASE
)


def kind_of(path: Path) -> str | None:
    """The form of a file by its suffix, with or without .gz, in any case; None where that says nothing."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        del suffixes[-1]
    return KINDS.get(suffixes[-1]) if suffixes else None


def find_files(source: str | Path) -> list[Path] | None:
    """Return the files of a local source in order, or None where nothing of that name is here.

    Of a folder, a file called documents or corpus is taken; else its data files (JSON, CSV, TSV, Parquet, Arrow), or its
    texts where those are more.

    Raises:
        InputError: there are none, they are empty, of an unknown form or of several.
    """
    path = Path(source)
    if path.is_file():
        files = [path]
        if kind_of(path) is None and not _SAYS_NOTHING.fullmatch(path.suffix.lower()):
            raise InputError(f"'{path}' is of no known form; rows come in {', '.join(KINDS)} files (also .gz).")
    elif path.is_dir():
        files = _of_folder(path)
    elif kind_of(path) or path.is_absolute() or str(source).startswith(".") or len(path.parts) > 2:
        raise InputError(f"'{source}' does not exist.")
    else:
        return None
    filled = [file for file in files if file.stat().st_size]
    if not filled:
        raise InputError(f"'{path}' is empty.")
    return filled


def _of_folder(folder: Path) -> list[Path]:
    for name in _DOCUMENTS:
        named = [file for file in sorted(folder.iterdir()) if file.name.split(".")[0] == name and kind_of(file)]
        if len(named) > 1:
            raise InputError(f"'{folder}' has {' and '.join(file.name for file in named)}; name the one to read.")
        if named:
            return named
    files = _visible(folder)
    usable = [file for file in files if not _ABOUT.fullmatch(file.name) and not _OTHERS.match(file.name)]
    texts = [file for file in usable if kind_of(file) == TEXT]
    data = [file for file in usable if kind_of(file) not in (None, TEXT)]
    if (
        not texts and not data
    ):  # a file about others is a document where there is nothing else; so is one without a suffix
        texts = [file for file in files if kind_of(file) == TEXT] or [
            file for file in usable if kind_of(file) is None and _SAYS_NOTHING.fullmatch(file.suffix.lower())
        ]
    taken = data if len(data) >= len(texts) else texts
    kinds = {str(kind_of(file)) for file in taken}
    if len(kinds) > 1:
        raise InputError(f"The folder '{folder}' mixes files of several kinds ({', '.join(sorted(kinds))}).")
    if not taken:
        there = ", ".join(sorted(file.name for file in folder.iterdir())[:8]) or "nothing"
        raise InputError(f"The folder '{folder}' has no file of documents ({', '.join(KINDS)}); there is {there}.")
    return taken


def _visible(folder: Path) -> list[Path]:
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]


def tell_left_out(folder: Path, taken: list[Path]) -> None:
    """Log how many files of a folder are not read, by suffix, with an example."""
    skipped = [file for file in _visible(folder) if file not in set(taken)]
    if skipped:
        kinds = Counter(file.suffix or "without a suffix" for file in skipped)
        told = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
        logger.warning(
            "%s: %d files are read; %d are left out (%s), such as %s.",
            folder,
            len(taken),
            len(skipped),
            told,
            skipped[0].name,
        )
