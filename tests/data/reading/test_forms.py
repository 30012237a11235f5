"""Every form of file times every kind of content: what is read is what was written; and files drawn at random."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_cocondenser.data.reading.documents import read_documents
from hf_cocondenser.data.reading.pairs import read_pairs
from hf_cocondenser.data.reading.queries import read_queries
from hf_cocondenser.errors import InputError

Rows = list[dict[str, str]]

DOCUMENTS: Rows = [
    {"docno": "007", "Title": "2020-01-01", "text": 'He said "hi", and left.'},
    {"docno": "17293822569102704640", "Title": "", "text": "Tab-free, but with a comma; and a semicolon"},
    {"docno": "2021-05-03T10:00:00+02:00", "Title": "NA", "text": "null"},
    {"docno": "d-4", "Title": "Käse \u2028 und Brot", "text": '"a whole sentence in quotes"'},
]
QUERIES: Rows = [
    {"qid": "01", "query": "who sings, and why?"},
    {"qid": "2e5", "query": 'a "quoted" one'},
    {"qid": "q3", "query": "2020"},
]
PAIRS: Rows = [
    {"id": "1", "question": "who sings?", "answer": "whales, and birds", "url": "https://x.org/1"},
    {"id": "2", "question": "when?", "answer": "1648-10-24", "url": "https://x.org/2"},
    {"id": "3", "question": 'why "so"?', "answer": "NA", "url": "https://x.org/3"},
]


def json_lines(rows: Rows) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def table(rows: Rows, **options: object) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), **options)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def raw_tsv(rows: Rows) -> str:
    return "".join("\t".join(cells) + "\n" for cells in [list(rows[0]), *(list(row.values()) for row in rows)])


FORMS: dict[str, Callable[[Rows], str]] = {
    "x.jsonl": json_lines,
    "x.ndjson": json_lines,
    "x.JSONL": json_lines,
    "x": json_lines,
    "lines.json": json_lines,
    "lines.txt": json_lines,
    "array.json": lambda rows: json.dumps(rows),
    "pretty.json": lambda rows: json.dumps(rows, indent=2),
    "array.jsonl": lambda rows: json.dumps(rows),
    "x.csv": table,
    "quoted.csv": lambda rows: table(rows, quoting=csv.QUOTE_ALL),
    "unix.csv": lambda rows: table(rows, lineterminator="\n"),
    "semicolon.csv": lambda rows: table(rows, delimiter=";"),
    "tab.csv": lambda rows: table(rows, delimiter="\t"),
    "x.tsv": lambda rows: table(rows, delimiter="\t"),
    "quoted.TSV": lambda rows: table(rows, delimiter="\t", quoting=csv.QUOTE_ALL),
    "raw.tsv": raw_tsv,
    "raw.txt": raw_tsv,
    "trailing.tsv": lambda rows: raw_tsv(rows).replace("\n", "\t\n"),
}


def documents(path: Path | object) -> list[tuple]:
    return [(document.id, document.title, document.text) for document in read_documents(path)]


def queries(path: Path | object) -> list[tuple]:
    return [(query.id, query.text) for query in read_queries(path)]


def pairs(path: Path | object) -> list[tuple]:
    return [(pair.query, *pair.positives) for pair in read_pairs(path)]


CONTENT = {
    "documents": (DOCUMENTS, documents, ("docno", "Title", "text")),
    "queries": (QUERIES, queries, ("qid", "query")),
    "pairs": (PAIRS, pairs, ("question", "answer")),
}


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("content", CONTENT)
@pytest.mark.parametrize("form", FORMS)
def test_text_files(tmp_path, form, content, zipped, mark):
    rows, read, columns = CONTENT[content]
    text = (mark + FORMS[form](rows)).encode()
    path = tmp_path / (f"{form}.gz" if zipped else form)
    path.write_bytes(gzip.compress(text) if zipped else text)
    assert read(path) == [tuple(row[column] for column in columns) for row in rows]


@pytest.mark.parametrize("content", CONTENT)
@pytest.mark.parametrize("form", ["parquet", "arrow file", "arrow stream", "data set", "list", "saved"])
def test_typed_files_and_memory(tmp_path, form, content):
    rows, read, columns = CONTENT[content]
    arrow = pa.Table.from_pylist(rows)
    source: object = tmp_path / "x.arrow"
    if form == "parquet":
        source = tmp_path / "x.PARQUET"
        pq.write_table(arrow, source)
    elif form == "arrow file":
        with pa.ipc.new_file(source, arrow.schema) as writer:
            writer.write_table(arrow)
    elif form == "arrow stream":
        with pa.ipc.new_stream(source, arrow.schema) as writer:
            writer.write_table(arrow)
    elif form == "data set":
        source = Dataset.from_list(rows)
    elif form == "list":
        source = rows
    else:
        source = tmp_path / "saved"
        Dataset.from_list(rows).save_to_disk(source)
    if form == "saved" and content == "queries":
        with pytest.raises(InputError, match="is a folder; name the file of queries"):
            read(source)
        return
    assert read(source) == [tuple(row[column] for column in columns) for row in rows]


@pytest.mark.parametrize("content", ["documents", "pairs"])
@pytest.mark.parametrize("form", ["x.jsonl", "x.csv", "raw.tsv"])
def test_folders_of_parts(tmp_path, form, content):
    """Each file has its own columns: the second part calls the text otherwise."""
    rows, read, columns = CONTENT[content]
    names = {"text": "contents", "answer": "positive"}
    parts = [rows[:2], [{names.get(name, name): value for name, value in row.items()} for row in rows[2:]]]
    for number, part in enumerate(parts):
        (tmp_path / f"{number}-{form}").write_text(FORMS[form](part), encoding="utf-8")
    assert read(tmp_path) == [tuple(row[column] for column in columns) for row in rows]


# No line ends and no tabs: those of cells are drawn below, for the forms that can write them. No blanks around: they are
# stripped from ids and from queries. No half characters: they cannot be written.
words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=8)
text = st.lists(words, min_size=1, max_size=6).map(" ".join)
# A whole sentence in doubled quotation marks is what CSV writes for one in single ones.
plain_text = text.filter(lambda one: not (len(one) > 1 and one[0] == one[-1] == '"' and '""' in one))
ids = words.filter(lambda one: one != '""')  # an empty cell, in quotation marks
prose = text.filter(lambda one: any(map(str.isalpha, one)) and not one.startswith(("http", "www", "ftp", "file")))


def drawn(cells: st.SearchStrategy[str]) -> st.SearchStrategy[list[tuple[str, str, str]]]:
    rows = st.lists(st.tuples(ids, cells, cells), min_size=1, max_size=6, unique_by=lambda row: row[0])
    return rows.filter(lambda rows: any(any(map(str.isalpha, row[2])) for row in rows))


@pytest.mark.parametrize("form", ["x.jsonl", "array.json", "x.csv", "semicolon.csv", "x.tsv", "raw.tsv"])
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_drawn_documents(form, data):
    cells = plain_text if form == "raw.tsv" else text
    if form in ("x.jsonl", "array.json", "x.csv", "semicolon.csv"):
        cells = st.lists(text, min_size=1, max_size=3).map("\n".join)
    rows = data.draw(drawn(cells))
    written = [{"id": id, "title": title, "text": body} for id, title, body in rows]
    for path in _written(form, written):
        try:
            assert documents(path) == rows
        except InputError as error:  # a cell of several lines that look like rows of their own is refused, not guessed
            assert "takes the next rows with it" in str(error) and any("\n" in row[1] + row[2] for row in rows)


@pytest.mark.parametrize("form", ["x.jsonl", "array.json", "x.csv", "x.tsv", "raw.tsv"])
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(plain_text, plain_text), min_size=1, max_size=6))
def test_drawn_pairs(form, rows):
    for path in _written(form, [{"query": query, "positive": positive} for query, positive in rows]):
        assert pairs(path) == rows


@pytest.mark.parametrize("form", ["x.jsonl", "x.csv", "x.tsv", "raw.tsv"])
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(ids, plain_text), min_size=1, max_size=6, unique_by=lambda row: row[0]))
def test_drawn_queries(form, rows):
    for path in _written(form, [{"qid": id, "question": query} for id, query in rows]):
        assert queries(path) == rows


def _written(form: str, rows: Rows) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, form)
        path.write_text(FORMS[form](rows), encoding="utf-8", newline="")
        yield path
