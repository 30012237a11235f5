"""Documents from every kind of source, and what is said of bad ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict, IterableDataset

from hf_cocondenser.data.documents import load_documents
from hf_cocondenser.errors import InputError

ROWS = [
    {"_id": "a", "title": "First", "text": "One passage.\n\nAnother  passage."},
    {"_id": "b", "title": "Second", "text": "Just one."},
    {"_id": "c", "title": "", "text": ""},
]
EXPECTED = [
    {"_id": "a", "title": "First", "passages": ["One passage.", "Another  passage."]},
    {"_id": "b", "title": "Second", "passages": ["Just one."]},
    {"_id": "c", "title": "", "passages": [""]},
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / ".cache")


def jsonl(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(source, **options) -> list[dict]:
    return list(load_documents(source, **options))


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json", "parquet", "csv", "tsv", "beir"])
def test_files(tmp_path, kind, streaming):
    data = Dataset.from_list(ROWS)
    path = tmp_path / f"documents.{kind}"
    if kind == "jsonl":
        jsonl(path, ROWS)
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress(jsonl(tmp_path / "plain" / "x.jsonl", ROWS).read_bytes()))
    elif kind == "json":
        path.write_text(json.dumps(ROWS))
    elif kind == "parquet":
        data.to_parquet(path)
    elif kind in ("csv", "tsv"):
        data.to_csv(path, sep="\t" if kind == "tsv" else ",", index=False)
    else:
        path = tmp_path / "beir"
        jsonl(path / "corpus.jsonl", ROWS)
        jsonl(path / "queries.jsonl", [{"_id": "q", "text": "not a document"}])
    assert read(path, streaming=streaming) == EXPECTED


@pytest.mark.parametrize("streaming", [False, True])
def test_passages_in_documents_jsonl_come_before_the_corpus(tmp_path, streaming):
    jsonl(tmp_path / "corpus.jsonl", ROWS)
    jsonl(tmp_path / "documents.jsonl", [{"_id": 7, "title": None, "passages": ["x", "y"]}])
    assert read(tmp_path, streaming=streaming) == [{"_id": "7", "title": "", "passages": ["x", "y"]}]


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        (None, [["a b"], ["c"], ["d"]]),
        ("line", [["a b"], ["c"], ["d"]]),
        ("paragraph", [["a b\nc"], ["d"]]),
        ("file", [["a b\nc", "d"]]),
    ],
)
def test_plain_text(tmp_path, unit, expected):
    path = tmp_path / "text.txt"
    path.write_text("a b\nc\n\nd")
    documents = read(path, text_documents=unit)
    assert [document["passages"] for document in documents] == expected
    assert [document["_id"] for document in documents] == [str(n) for n in range(len(expected))]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_folder_of_text_files_is_a_document_per_file(tmp_path, streaming):
    for name in ("b/two.md", "one.txt", ".hidden/three.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n\nmore")
    found = [document["passages"] for document in read(tmp_path, streaming=streaming)]
    assert found == [["b/two.md", "more"], ["one.txt", "more"]]


def test_a_folder_of_parts(tmp_path):
    jsonl(tmp_path / "part-1.jsonl", ROWS[:1])
    jsonl(tmp_path / "part-2.jsonl", ROWS[1:])
    assert read(tmp_path) == EXPECTED


def test_saved_and_open_data_sets(tmp_path):
    data = Dataset.from_list(ROWS)
    data.save_to_disk(tmp_path / "one")
    DatasetDict({"train": data, "test": data.select([1])}).save_to_disk(tmp_path / "several")
    assert read(tmp_path / "one") == EXPECTED
    assert read(tmp_path / "one", streaming=True) == EXPECTED
    assert read(tmp_path / "several", split="test") == EXPECTED[1:2]
    assert read(data) == EXPECTED
    assert read(data.to_iterable_dataset()) == EXPECTED
    with pytest.raises(InputError, match="no split 'dev'; there are train, test"):
        read(tmp_path / "several", split="dev")


def test_named_columns(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", [{"key": 5, "name": "T", "abstract": "A.\n\nB.", "text": "wrong"}])
    options = {"text_column": "abstract", "title_column": "name", "id_column": "key"}
    assert read(path, **options) == [{"_id": "5", "title": "T", "passages": ["A.", "B."]}]


@pytest.mark.parametrize("streaming", [False, True])
def test_refusals(tmp_path, streaming):
    def refused(source, match: str, **options) -> None:
        with pytest.raises(InputError, match=match):
            list(load_documents(source, streaming=streaming, **options))

    good = jsonl(tmp_path / "good.jsonl", ROWS)
    refused(tmp_path / "missing.jsonl", r"missing\.jsonl' does not exist")
    refused(good, r"good\.jsonl' has no column 'body' \(text_column\); there are _id, title, text", text_column="body")
    refused(good, r"no column 'name'", title_column="name")
    refused(good, "not both", text_column="text", passages_column="text")
    refused(good, "text_documents is 'page'", text_documents="page")

    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    refused(empty, r"empty\.jsonl' is empty")
    blank = tmp_path / "blank" / "empty.csv"
    blank.parent.mkdir()
    blank.write_text("_id,text\n")
    refused(blank, "is empty")

    other = jsonl(tmp_path / "other" / "x.jsonl", [{"id": 1, "prose": "x"}])
    refused(other, "none of the columns passages, text.*there are id, prose.*text_column")
    numbers = jsonl(tmp_path / "numbers" / "x.jsonl", [{"id": 1, "text": 3.5}])
    refused(numbers, "column 'text' of .* holds '3.5' instead of text")

    broken = tmp_path / "broken" / "x.jsonl"
    jsonl(broken, ROWS * 40)
    broken.write_text(broken.read_text() + '{"_id": "z", "text": \n')
    refused(broken, r"x\.jsonl' line 121 is not valid JSON")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "no file of documents.*there is nothing")
    (tmp_path / "folder" / "picture.png").write_bytes(b"x")
    refused(tmp_path / "folder", r"there is picture\.png")
    refused(tmp_path / "folder" / "picture.png", "no known form")
    jsonl(tmp_path / "mixed" / "a.jsonl", ROWS)
    (tmp_path / "mixed" / "a.csv").write_text("x")
    refused(tmp_path / "mixed", r"several kinds \(csv, json\)")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 this is none")
    refused(tmp_path / "bad.parquet", r"bad\.parquet' cannot be read as parquet")


@pytest.mark.parametrize("streaming", [False, True])
def test_what_looks_like_a_number_or_nothing_in_a_table_is_text(tmp_path, streaming):
    for name, separator in (("a.csv", ","), ("a.tsv", "\t")):
        rows = [["id", "title", "text"], ["007", "2020", "null"], ["008", "NA", "12"]]
        lines = "".join(separator.join(row) + "\n" for row in rows)
        (tmp_path / name).write_text(lines, encoding="utf-8-sig")
        assert list(load_documents(tmp_path / name, streaming=streaming)) == [
            {"_id": "007", "title": "2020", "passages": ["null"]},
            {"_id": "008", "title": "NA", "passages": ["12"]},
        ]


@pytest.mark.parametrize("streaming", [False, True])
def test_nothing_in_a_list_of_passages_is_no_passage(tmp_path, streaming):
    rows = [{"_id": "a", "passages": ["one", None, "two"]}, {"_id": "b", "passages": [None]}, {"_id": "c"}]
    documents = read(jsonl(tmp_path / "x.jsonl", rows), streaming=streaming)
    assert [document["passages"] for document in documents] == [["one", "two"], [], []]


def test_half_characters_are_replaced():
    rows = [{"title": "A\ud83d", "text": "one \ud83d\n\ntwo"}, {"title": "B", "text": "🐋"}]
    documents = read(IterableDataset.from_generator(lambda: iter(rows)))
    assert [(document["title"], document["passages"]) for document in documents] == [
        ("A\ufffd", ["one \ufffd", "two"]),
        ("B", ["🐋"]),
    ]


def test_an_id_twice(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", [*ROWS, ROWS[1]])
    with pytest.raises(InputError, match=r"1 document ids come more than once.*x\.jsonl.*'b'"):
        load_documents(path)


def test_no_such_data_set():
    with pytest.raises(InputError, match="'nobody-has-this' is neither here nor can it be loaded from the Hub"):
        load_documents("nobody-has-this")
