"""DPR's files: psgs*.tsv (`id, text, title`), and DATA-SPLIT.json or DATA-SPLIT.qa.csv with questions and answers.

The JSON files judge passages (`positive_ctxs`); the CSV files have answers only, so that Answer@k alone can be measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hf_cocondenser.data.reading import documents
from hf_cocondenser.data.reading.columns import DocumentColumns
from hf_cocondenser.data.reading.delimited import delimited_table
from hf_cocondenser.data.reading.queries import listed
from hf_cocondenser.data.reading.tables import open_file
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
        InputError: see `hf_cocondenser.data.reading`.
    """
    path = min(folder.glob("psgs*.tsv*"))
    named = delimited_table(path, "\t").named
    columns = None if named else DocumentColumns(text_column="2", title_column="3", id_column="1")
    for document in documents.read_documents(path, columns, require_ids=True):
        yield Document(document.id, document.title, document.text)


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


def _read_csv(path: Path) -> tuple[list[Query], None]:
    questions = []
    table = delimited_table(path, "\t", wanted="1")  # these files have no header
    for number, (line, row) in enumerate(table.rows()):
        place, answers = f"Line {line} of '{path}'", listed(row.get("2"))
        if len(row) != 2 or answers is None:
            raise InputError(f"{place} is not 'question<TAB>[answers]'.")
        questions.append(Query(str(number), row["1"], tuple(texts_of(answers, place, "2"))))
    return questions, None
