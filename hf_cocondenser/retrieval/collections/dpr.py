"""DPR's files: psgs*.tsv (`id, text, title`), and DATA-SPLIT.json or DATA-SPLIT.qa.csv with questions and answers.

The JSON files judge passages (`positive_ctxs`); the CSV files have answers only, so that Answer@k alone can be measured.
"""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from hf_cocondenser.data.reading.tables import open_file
from hf_cocondenser.data.reading.text_files import open_text
from hf_cocondenser.data.reading.values import texts_of
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.collection import Document, Query
from hf_cocondenser.retrieval.collections.judgements import Judgement


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


def read_questions(folder: Path, split: str) -> tuple[list[Query], list[Judgement] | None]:
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


def _read_json(path: Path) -> tuple[list[Query], list[Judgement] | None]:
    questions, judgements = [], []
    table = open_file(path)
    for number, (line, entry) in enumerate(table.rows()):
        place, question, contexts = table.place(line), entry.get("question"), entry.get("positive_ctxs")
        if not isinstance(question, str) or not isinstance(contexts, list):
            raise InputError(f"{place} has no question with positive_ctxs, as DPR's question files have.")
        questions.append(Query(str(number), question, tuple(texts_of(entry.get("answers"), place, "answers"))))
        for context in contexts:
            passage = next((context[name] for name in ("passage_id", "psg_id") if name in context), None)
            if passage is None:
                raise InputError(
                    f"{place} has a positive context without passage_id; it is not known which passage it is."
                )
            judgements.append((str(number), str(passage), 1))
    return questions, judgements


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
