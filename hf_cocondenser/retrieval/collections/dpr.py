"""DPR's files: psgs*.tsv (`id, text, title`), and DATA-SPLIT.json or DATA-SPLIT.qa.csv with questions and answers.

The JSON files judge passages (`positive_ctxs`); the CSV files have answers only, so that Answer@k alone can be measured.
"""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from hf_cocondenser.data.reading.text_files import open_text
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.collection import Document, Query


def is_dpr_folder(folder: Path) -> bool:
    """Whether `folder` holds DPR's passages."""
    return bool(list(folder.glob("psgs*.tsv*")))


def read_documents(folder: Path) -> Iterator[Document]:
    """Every passage.

    Raises:
        InputError: a line has not the columns id, text, title.
    """
    path = min(folder.glob("psgs*.tsv*"))
    csv.field_size_limit(10**8)
    with open_text(path) as file:
        for number, fields in enumerate(_tsv(path, file), start=1):
            if fields == ["id", "text", "title"]:
                continue
            if len(fields) != 3:
                raise InputError(f"Line {number} of '{path}' has not the columns id, text and title.")
            identifier, text, title = fields
            yield Document(identifier, title, text)


def read_questions(folder: Path, split: str) -> tuple[list[Query], list[tuple[str, str, int]] | None]:
    """Questions with answers (numbered from 0), and their judgements where the file has any.

    Raises:
        InputError: there is no file for the split, or several, or it cannot be read.
    """
    for pattern, read in ((f"*{split}.json*", _read_json), (f"*{split}.qa.csv*", _read_csv)):
        paths = sorted(folder.glob(pattern))
        if len(paths) > 1:
            raise InputError(
                f"'{folder}' has several files for the split '{split}': {', '.join(p.name for p in paths)}."
            )
        if paths:
            return read(paths[0])
    raise InputError(f"'{folder}' has no *-{split}.json or *-{split}.qa.csv.")


def _read_json(path: Path) -> tuple[list[Query], list[tuple[str, str, int]] | None]:
    try:
        with open_text(path) as file:
            entries = json.load(file)
        questions = [
            Query(str(number), entry["question"], tuple(entry["answers"])) for number, entry in enumerate(entries)
        ]
        judgements = [
            (str(number), _passage_id(context), 1)
            for number, entry in enumerate(entries)
            for context in entry["positive_ctxs"]
        ]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"'{path}' is not one of DPR's question files ({type(error).__name__}: {error}).") from None
    return questions, judgements


def _passage_id(context: dict[str, Any]) -> str:
    return str(context["passage_id"] if "passage_id" in context else context["psg_id"])


def _tsv(path: Path, file: TextIO) -> Iterator[list[str]]:
    rows = csv.reader(file, delimiter="\t")
    try:
        yield from rows
    except csv.Error as error:
        raise InputError(f"Line {rows.line_num} of '{path}' cannot be read ({error}).") from None


def _read_csv(path: Path) -> tuple[list[Query], None]:
    questions = []
    with open_text(path) as file:
        for number, fields in enumerate(_tsv(path, file)):
            try:
                question, answers = fields
                questions.append(Query(str(number), question, tuple(map(str, ast.literal_eval(answers)))))
            except (ValueError, SyntaxError, TypeError):
                raise InputError(f"Line {number + 1} of '{path}' is not 'question<TAB>[answers]'.") from None
    return questions, None
