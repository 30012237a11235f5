"""Opening whatever holds documents as a `datasets` data set: files, folders, the Hub."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, IterableDataset, Value, load_dataset, load_from_disk
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.loading import one_line, out_of_reach

TEXT_DOCUMENTS = {"line": "line", "paragraph": "paragraph", "file": "document"}  # ours -> datasets' `sample_by`
_KINDS = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".rst": "text",
}
_BEIR_FILES = ("documents.jsonl", "corpus.jsonl")


def find_files(source: str | Path) -> tuple[str, list[Path]] | None:
    """Return the kind and the files of a local source, or None where nothing of that name is here.

    Raises:
        InputError: the files are missing, empty, of an unknown kind or of several.
    """
    path = Path(source)
    if path.is_file():
        files = [path]
    elif path.is_dir():
        beir = [path / name for name in _BEIR_FILES if (path / name).is_file()]
        files = beir[:1] or [file for file in sorted(path.rglob("*")) if _kind(file) and not _hidden(file, path)]
        if not files:
            there = ", ".join(sorted(file.name for file in path.iterdir())[:8]) or "nothing"
            raise InputError(f"The folder '{path}' has no file of documents ({', '.join(_KINDS)}); there is {there}.")
    elif _kind(path) or path.is_absolute() or str(source).startswith(".") or len(path.parts) > 2:
        raise InputError(f"'{source}' does not exist.")
    else:
        return None
    kinds = {_kind(file) for file in files}
    if kinds == {None}:
        raise InputError(f"'{path}' is of no known kind; documents come in {', '.join(_KINDS)} files (also .gz).")
    if len(kinds) > 1:
        raise InputError(f"The folder '{path}' mixes files of several kinds ({', '.join(sorted(map(str, kinds)))}).")
    files = [file for file in files if file.stat().st_size]
    if not files:
        raise InputError(f"'{path}' is empty.")
    (kind,) = kinds
    return str(kind), files


def open_source(
    source: str | Path,
    *,
    subset: str | None = None,
    split: str = "train",
    text_documents: str | None = None,
    streaming: bool = False,
) -> Dataset | IterableDataset:
    """Open files, a folder, a saved data set or a Hub data set id.

    Args:
        subset: the Hub data set's configuration.
        split: the Hub data set's split; also of a saved `DatasetDict`.
        text_documents: what one document is in plain text: a `line`, a `paragraph` (blank lines between) or a `file`;
            by default a line, and a file where a folder holds several.

    Raises:
        InputError: it cannot be found or read.
    """
    if text_documents is not None and text_documents not in TEXT_DOCUMENTS:
        raise InputError(f"text_documents is '{text_documents}'; choose one of {', '.join(TEXT_DOCUMENTS)}.")
    folder = Path(source)
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        return _open_saved(folder, split, streaming)
    found = find_files(source)
    if found is None and (reason := out_of_reach(source, "dataset")):
        raise InputError(f"'{source}' is neither here nor can it be loaded from the Hub: {reason}.")
    try:
        if found is None:
            return load_dataset(str(source), subset, split=split, streaming=streaming)
        kind, files = found
        options: dict[str, Any] = {
            "data_files": [str(file) for file in files],
            "split": "train",
            "streaming": streaming,
        }
        if kind == "text":
            unit = text_documents or ("file" if len(files) > 1 else "line")
            return load_dataset("text", sample_by=TEXT_DOCUMENTS[unit], **options)
        if kind in ("csv", "tsv"):
            # As text: an id is not to lose its zeros, nor a text to vanish because it is "NA" or "null".
            separator = "\t" if kind == "tsv" else ","
            columns = Features(dict.fromkeys(_header(files[0], separator), Value("string")))
            return load_dataset(
                "csv", sep=separator, features=columns, keep_default_na=False, na_values=[""], **options
            )
        return load_dataset(kind, **options)
    except Exception as error:
        raise describe_failure(source, error) from None


def describe_failure(source: str | Path, error: Exception) -> InputError:
    """Turn an error while reading `source` into one sentence, naming file and line where that can be found."""
    found = None if isinstance(error, DatasetNotFoundError) else find_files(source)
    if found is None:
        return InputError(f"'{source}' is neither here nor can it be loaded from the Hub: {one_line(error)}")
    kind, files = found
    if kind == "json":
        for file in files:
            problem = _json_problem(file)
            if problem:
                return InputError(problem)
    if "corresponds to no data" in str(error):  # how datasets says that no row was made of the files
        return InputError(f"'{source}' is empty.")
    cause = error.__cause__ if isinstance(error, DatasetGenerationError) and error.__cause__ else error
    reason = " ".join(str(cause).split())[:300]
    return InputError(f"{', '.join(repr(str(file)) for file in files[:3])} cannot be read as {kind} ({reason}).")


def _header(file: Path, separator: str) -> list[str]:
    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rt", encoding="utf-8-sig", newline="") as lines:
        return next((row for row in csv.reader(lines, delimiter=separator) if row), [])


def _json_problem(file: Path) -> str | None:
    """The first line that is no JSON object, in words."""
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if number == 1 and line.lstrip().startswith("["):
                    return None  # an array over the whole file
                if line.strip() and not isinstance(json.loads(line), dict):
                    return f"'{file}' line {number} is not a JSON object."
    except json.JSONDecodeError as error:
        return f"'{file}' line {number} is not valid JSON ({error.msg}, column {error.colno})."
    except (OSError, UnicodeDecodeError) as error:
        return f"'{file}' cannot be read ({error})."
    return None


def _open_saved(folder: Path, split: str, streaming: bool) -> Dataset | IterableDataset:
    try:
        saved = load_from_disk(str(folder))
    except Exception as error:
        raise InputError(f"'{folder}' cannot be read as a saved data set ({' '.join(str(error).split())}).") from None
    if not isinstance(saved, Dataset):
        if split not in saved:
            raise InputError(f"The data set '{folder}' has no split '{split}'; there are {', '.join(saved)}.")
        saved = saved[split]
    return saved.to_iterable_dataset() if streaming else saved


def _kind(file: Path) -> str | None:
    suffix = Path(file.stem).suffix if file.suffix == ".gz" else file.suffix
    return _KINDS.get(suffix.lower())


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)
