"""Documents and queries of other people's files: nothing shifted, guessed, dropped or rewritten in silence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hf_cocondenser.data.documents import load_documents
from hf_cocondenser.data.reading.columns import Columns, DocumentColumns
from hf_cocondenser.data.reading.documents import read_documents
from hf_cocondenser.data.reading.queries import read_queries
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data


def documents(path: Path, *columns: str | None) -> list[tuple]:
    return [(d.id, d.title, d.text) for d in read_documents(path, DocumentColumns(*columns))]


def queries(path: Path, **columns: str) -> list[tuple]:
    return [(query.id, query.text) for query in read_queries(path, Columns(**columns))]


def file(tmp_path: Path, name: str, content: str | list) -> Path:
    text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("trailing.csv", "id,text\nd1,hello world,\nd2,good bye,\n", [("d1", "", "hello world"), ("d2", "", "good bye")]),
        (
            "trailing.tsv",
            "id\ttitle\ttext\nd1\tTitle A\tBody A\t\nd2\tTitle B\tBody B\t\n",
            [("d1", "Title A", "Body A"), ("d2", "Title B", "Body B")],
        ),
        (
            "quotes.tsv",
            'id\ttext\nd1\tHe said "hi\nd2\t"third\nd3\tis here\nd4\tfourth"\nd5\tlast\n',
            [("d1", "", 'He said "hi'), ("d2", "", '"third'), ("d3", "", "is here"), ("d4", "", 'fourth"'), ("d5", "", "last")],
        ),
        (
            "open.tsv",
            'id\ttext\nd1\tone\nd2\t"Foo" is a bar\nd3\t"open',
            [("d1", "", "one"), ("d2", "", '"Foo" is a bar'), ("d3", "", '"open')],
        ),
        ("lines.tsv", 'id\ttext\nd1\t"one\ntwo"\nd2\t"a\tb"\n', [("d1", "", "one\ntwo"), ("d2", "", "a\tb")]),
        ("lines.csv", 'id,text\r\nd1,"one, two\r\nthree, four"\r\n', [("d1", "", "one, two\r\nthree, four")]),
        ("index.csv", ",id,text\n0,d1,one more\n1,d2,two more\n", [("d1", "", "one more"), ("d2", "", "two more")]),
        ("collection.tsv", "7\twhales sing\n8\tbread is baked\n", [("7", "", "whales sing"), ("8", "", "bread is baked")]),
        ("letters.tsv", "d1\twhales\nd2\tbread\n", [("d1", "", "whales"), ("d2", "", "bread")]),
        ("only.csv", "text\none\ntwo\n", [("0", "", "one"), ("1", "", "two")]),
        ("crlf.jsonl", '{"_id": "a", "text": "x"}\r\n\r\n{"_id": "b", "text": "y"}\r\n', [("a", "", "x"), ("b", "", "y")]),
        ("ends.jsonl", '{"_id": "a", "text": "x\u2028y\x85z"}\n', [("a", "", "x\u2028y\x85z")]),
        ("json.txt", '{"id": 1, "text": "one"}\n{"id": 2, "text": "two"}\n', [("1", "", "one"), ("2", "", "two")]),
        ("texts.json", '["one\\n\\ntwo",\n "three"]', [("0", "", "one\n\ntwo"), ("1", "", "three")]),
    ],
)  # fmt: skip
def test_tables_are_read_as_they_are_written(tmp_path, name, content, expected):
    assert documents(file(tmp_path, name, content)) == expected


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "id,title,text\nd1,Cats,Cats purr, and sleep\n", r"a\.csv' line 2 has 4 cells where the header has 3"),
        ("a.csv", "id,text\nd1,one two\nd2\n", "line 3 has 1 cells"),
        ("a.csv", 'id,text\nd1,"one\nd2,two\nd3,three"\nd4,four\n', "line 2 opens a cell .* takes the next rows"),
        ("a.csv", 'id,text\nd1,"one" two\n', "line 2 cannot be read"),
        ("a.csv", 'id,text\nd1,"one\nd2,two\n', "line 2 cannot be read .*never closes"),
        ("a.csv", "id,text,text\nd1,a,b\n", "two columns called 'text'"),
        ("a.csv", "id,text\n", "is empty"),
        ("a.csv", "id,text\nd1,\nd2, \n", "None of the 2 documents of .* has a text"),
        ("a.tsv", "id\ttext\nd1\ta\tb\n", "line 2 has 3 cells"),
        ("a.tsv", "7\ta b\tc d\n8\te f\tg h\n", "no header.*text_column 2"),
        ("a.jsonl", '{"_id": "a", "text": "x"}\n{"text": "y"}\n', r"a\.jsonl' line 2 has no id in the column '_id'"),
        ("a.jsonl", '{"_id": "a", "text": "x", "text": "y"}\n', "line 1 has the key 'text' twice"),
        ("a.jsonl", '{"_id": "a", "text": "x"}\nnull\n', "line 2 is not a JSON object"),
        ("a.jsonl", '{"_id": "a", "text": {"b": 1}}\n', "'text' of .* instead of text"),
        ("a.jsonl", '{"_id": "a", "text": "x"}\n{"_id": "b", "text": [["y"]]}\n', "line 2 holds .* instead of text"),
        ("a.jsonl", '{"_id": "a", "text": ' + "[" * 100_000 + "\n", "line 1 is nested too deeply"),
        ("a.json", '[{"_id": "a",\n "text": ' + "[" * 100_000, "line 1 is nested too deeply"),
        ("a.json", '[{"_id": "a", "text": "x"},\n {"_id": "b" "text": "y"}]', "line 2 is not valid JSON"),
        ("a.json", '[{"_id": "a", "text": "x"}', r"line 1 is not valid JSON \(Expecting ',' or '\]'"),
        ("a.json", '{"d1": {"text": "x"},\n "d2": {"text": "y"}}', "line 1 is not valid JSON"),
        ("a.jsonl", '{"_id": "a", "text": ""}\n', "None of the 1 documents"),
        ("trec.txt", "<DOC>\n<DOCNO>a</DOCNO>\nfirst\n</DOC>\n", "is written in XML, SGML or HTML"),
        ("wiki_00", '<doc id="1" title="A">\nfirst\n</doc>\n', "is written in XML, SGML or HTML"),
        ("page.xml", "<?xml version='1.0'?>\n<root><a>first</a></root>\n", "is written in XML, SGML or HTML"),
        ("wide.csv", "i\0d\0,\0t\0\n\0a\0,\0b\0\n\0", "looks like UTF-16"),
        ("none.json", "[]", "is empty"),
        ("none.jsonl", "{}\n", "is empty"),
    ],
)  # fmt: skip
def test_wrong_shapes_are_one_sentence_with_the_line(tmp_path, name, content, words):
    with pytest.raises(InputError, match=words):
        documents(file(tmp_path, name, content))


@pytest.mark.parametrize(
    "name",
    [
        "docno",
        "DOCNO",
        "pid",
        "passage_id",
        "doc-id",
        "document_id",
        "corpus-id",
        "did",
        "uid",
        "cord_uid",
        "docId",
        "ID",
    ],
)
def test_ids_under_other_names(tmp_path, name):
    rows = [{name: number, "Title": "T", "contents": f"text {number}"} for number in (1, 2)]
    assert documents(file(tmp_path, "a.jsonl", rows)) == [("1", "T", "text 1"), ("2", "T", "text 2")]


def test_ids_and_titles_are_not_rewritten(tmp_path):
    long = "9" * 5000
    ids = ["2021-05-03", "2021-05-03T10:00:00+02:00", "007", "10:30", "1e5", "NaN", "null", "TRUE", "a b", "d/1"]
    rows = [{"_id": id, "title": id, "text": id} for id in ids]
    found = documents(file(tmp_path, "a.jsonl", rows))
    assert found == [(id, id, id) for id in ids]
    numbers = (
        f'{{"_id": {long}, "text": "a"}}\n{{"_id": 17293822569102704641, "text": "b"}}\n{{"_id": 1.0, "text": "c"}}\n'
    )
    assert [id for id, _, _ in documents(file(tmp_path, "b.jsonl", numbers))] == [long, "17293822569102704641", "1.0"]
    blanks = file(tmp_path, "c.jsonl", [{"_id": " d1 ", "text": " x "}])
    assert documents(blanks) == [("d1", "", " x ")]
    assert load_documents(tmp_path / "a.jsonl")["_id"] == ids


def test_the_column_of_ids_is_the_one_that_tells_rows_apart(tmp_path, caplog):
    caplog.set_level("INFO")
    rows = [{"doc_id": "d", "passage_id": f"d-{n}", "text": "x y"} for n in (1, 2)]
    assert [id for id, _, _ in documents(file(tmp_path, "a.jsonl", rows))] == ["d-1", "d-2"]
    assert "text 'text' ('x y'), id 'passage_id' ('d-1'); not used: doc_id" in caplog.text
    documents(file(tmp_path, "b.jsonl", [{"row_id": "r1", "text": "x"}]))
    assert "if the column 'row_id' holds their ids, name it (--id-column)" in caplog.text


def test_text_is_where_there_is_text(tmp_path):
    rows = [{"_id": "a", "text": "", "contents": "one"}, {"_id": "b", "text": "", "contents": "two"}]
    assert documents(file(tmp_path, "a.jsonl", rows)) == [("a", "", "one"), ("b", "", "two")]
    lists = [{"_id": "a", "text": ["one", "two"]}, {"_id": "b", "text": "one\n\ntwo"}, {"_id": "c", "text": None}]
    path = file(tmp_path, "b.jsonl", lists)
    assert documents(path) == [("a", "", "one\n\ntwo"), ("b", "", "one\n\ntwo"), ("c", "", "")]
    assert [row["passages"] for row in load_documents(path)] == [["one", "two"], ["one", "two"], []]


def test_ids_that_are_not_taken_are_told(tmp_path, caplog):
    rows = [{"asin": "B01", "text": "one two"}, {"asin": "B02", "text": "two three"}]
    assert [id for id, _, _ in documents(file(tmp_path, "docs.jsonl", rows))] == ["0", "1"]
    assert "if the column 'asin' holds their ids, name it (--id-column)" in caplog.text


def test_files_with_and_without_ids_are_not_mixed(tmp_path):
    file(tmp_path, "parts/1.jsonl", [{"id": "1", "text": "one"}])
    file(tmp_path, "parts/2.jsonl", [{"text": "two"}])
    with pytest.raises(InputError, match=r"1\.jsonl' has ids and .*2\.jsonl' has none"):
        documents(tmp_path / "parts")


def test_bytes_of_parquet_and_names_that_are_numbers(tmp_path):
    pq.write_table(pa.table({"id": [b"a"], "text": [b"one"]}), tmp_path / "x.parquet")
    assert documents(tmp_path / "x.parquet") == [("a", "", "one")]
    with pytest.raises(InputError, match="there are 1: name the one with the text"):
        read_documents([{1: "one"}])


def test_half_characters_are_replaced_everywhere(tmp_path):
    path = file(tmp_path, "a.jsonl", '{"_id": "a\\ud83d", "title": "t\\udc00", "text": ["x\\ud83d"]}\n')
    assert documents(path) == [("a\ufffd", "t\ufffd", "x\ufffd")]
    assert queries(file(tmp_path, "q.jsonl", '{"_id": "a", "query": "x\\ud83d"}\n')) == [("a", "x\ufffd")]


def test_beir_folders_have_the_same_names(tmp_path):
    file(
        tmp_path, "corpus.jsonl", [{"docno": " d1", "contents": ["one", "two"]}, {"docno": "d2", "contents": "three"}]
    )
    file(tmp_path, "queries.jsonl", [{"qid": "q1", "question": "who"}])
    file(tmp_path, "qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    data = load_retrieval_data(tmp_path)
    assert data.corpus == {"d1": "one\n\ntwo", "d2": "three"} and data.queries == {"q1": "who"}
    file(tmp_path, "corpus.jsonl", [{"docno": "d1", "contents": "one", "summary": "short"}])
    assert load_retrieval_data(tmp_path, columns=Columns(text_column="summary")).corpus == {"d1": "short"}


@pytest.mark.parametrize("streaming", [False, True])
def test_many_documents_come_in_order(tmp_path, streaming):
    path = file(tmp_path, "a.jsonl", [{"_id": f"d{number}", "text": f"text {number}"} for number in range(2500)])
    found = load_documents(path, streaming=streaming)
    assert [(row["_id"], row["passages"]) for row in found] == [(f"d{n}", [f"text {n}"]) for n in range(2500)]


def test_a_file_of_the_same_size_and_time_is_read_again(tmp_path):
    for text in ("one", "two"):
        path = file(tmp_path, "a.jsonl", [{"_id": "a", "text": text}])
        os.utime(path, (0, 0))
        assert load_documents(path)["passages"] == [[text]]


def test_named_and_numbered_columns(tmp_path):
    path = file(tmp_path, "a.tsv", "7\ta b\tc d\n8\te f\tg h\n")
    assert documents(path, "3", "2", "1") == [("7", "a b", "c d"), ("8", "e f", "g h")]
    with pytest.raises(InputError, match=r"no column 'body' \(text_column\); there are 1, 2, 3 \(it has no header"):
        documents(path, "body")
    unknown = file(tmp_path, "b.csv", "code,prose\na,one\nb,two\n")
    with pytest.raises(InputError, match="is a header cannot be told"):
        documents(unknown)
    assert documents(unknown, "prose", None, "code") == [("a", "", "one"), ("b", "", "two")]


def test_folders_of_texts(tmp_path, caplog):
    file(tmp_path, "guide/start.md", "# Getting started\n\nInstall it.")
    file(tmp_path, "api.rst", "The API\n=======\n\nCall it.")
    file(tmp_path, "notes.txt", "just text")
    for name in ("requirements.txt", "package.json", "logo.svg", "LICENSE", "page.html"):
        file(tmp_path, name, "{}")
    assert documents(tmp_path) == [
        ("api.rst", "The API", "The API\n=======\n\nCall it."),
        ("guide/start.md", "Getting started", "# Getting started\n\nInstall it."),
        ("notes.txt", "", "just text"),
    ]
    assert "3 files are read; 5 are left out" in caplog.text and "1 .html" in caplog.text


def test_folders_of_parts_leave_the_rest(tmp_path, caplog):
    for number in (1, 2):
        file(tmp_path, f"AA/wiki_0{number}", [{"id": number, "title": "", "text": f"text {number}"}])
        file(tmp_path, f"part-{number}.jsonl", [{"id": number, "text": f"text {number}"}])
    file(tmp_path, "README.md", "about")
    file(tmp_path, "queries.jsonl", [{"id": 1, "text": "not a document"}])
    assert documents(tmp_path) == [("1", "", "text 1"), ("2", "", "text 2")]
    assert "2 files are read; 4 are left out" in caplog.text
    assert documents(tmp_path / "AA" / "wiki_01") == [("1", "", "text 1")]
    assert documents(tmp_path / "AA") == [("1", "", "text 1"), ("2", "", "text 2")]


TOPICS = """<top>

<num> Number: 301
<title> International Organized Crime

<desc> Description:
Identify organizations that
participate.

<narr> Narrative:
A <b>relevant</b> document.

</top>
<top>
<num> Number: 302 </num>
<title> Poliomyelitis & Post-Polio </title>
</top>
"""
XML = """<?xml version="1.0"?>
<topics task="x"><topic number="1"><query>coronavirus origin</query><question>what is the origin?</question></topic>
<topic number="2"><query>weather &amp; spread</query></topic></topics>
"""


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("topics.txt", TOPICS, [("301", "International Organized Crime"), ("302", "Poliomyelitis & Post-Polio")]),
        ("topics.301-302", TOPICS, [("301", "International Organized Crime"), ("302", "Poliomyelitis & Post-Polio")]),
        ("topics.xml", XML, [("1", "coronavirus origin"), ("2", "weather & spread")]),
        ("q.jsonl", [{"_id": "a", "text": "x"}], [("a", "x")]),
        ("q.jsonl", [{"id": "a", "question": "x", "text": "a passage"}], [("a", "x")]),
        ("q.json", '[{"qid": 1, "query": "x"}, {"qid": 2, "query": "y"}]', [("1", "x"), ("2", "y")]),
        ("q.csv", "id,text\n1,x y\n", [("1", "x y")]),
        ("q.tsv", "qid\tquery\n7\tx y\n", [("7", "x y")]),
        ("q.txt", "qid\tquery\n7\tx y\n", [("7", "x y")]),
        ("q.txt", "what is it?\n\nwho\tme\n", [("1", "what is it?"), ("2", "who\tme")]),
        ("q.qa.csv", "who sang it\t['a', \"b's\"]\nwhen\t['1999']\n", [("1", "who sang it"), ("2", "when")]),
        ("q.tsv", "question\tanswers\nwho sang\t['a']\n", [("1", "who sang")]),
        ("empty.tsv", "q1\t\nq2\twho sings\n", [("q1", ""), ("q2", "who sings")]),
        ("texts.json", '["who", "what is it"]', [("1", "who"), ("2", "what is it")]),
        ("t.xml", "<topics><topic number='7'>a man &amp; a dog</topic></topics>", [("7", "a man & a dog")]),
    ],
)
def test_queries_of_every_form(tmp_path, name, content, expected):
    assert queries(file(tmp_path, name, content)) == expected


def test_answers(tmp_path):
    path = file(tmp_path, "q.tsv", "who sang\t['a', \"b's\"]\n")
    assert [query.answers for query in read_queries(path)] == [("a", "b's")]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [("Rome", ("Rome",)), (["a", None, ""], ("a",)), ({"text": ["a"], "answer_start": [3]}, ("a",)), ([], ())],
)
def test_answers_of_any_shape(tmp_path, answers, expected):
    path = file(tmp_path, "q.jsonl", [{"id": "1", "question": "where", "answers": answers}])
    assert [query.answers for query in read_queries(path)] == [expected]


def test_queries_without_a_text_are_counted(tmp_path, caplog):
    assert len(queries(file(tmp_path, "q.jsonl", [{"id": "1", "text": ""}, {"id": "2", "text": "x"}]))) == 2
    assert "1 of 2 queries have no text" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("q.jsonl", [{"_id": "a", "words": "x"}], "Which column .* holds the queries cannot be told.*query_column"),
        ("q.jsonl", [{"_id": "a", "text": ""}], "No query of .* has a text"),
        ("q.tsv", "who sang it\tme\nwhen was it\tthen\n", "cannot be told"),
        ("q.xml", "<topics><topic><query>x</topic></topics>", "line 1 is not valid XML"),
        (
            "q.xml",
            '<!DOCTYPE t [<!ENTITY a "b">]><topics><topic number="1"><query>&a;</query></topic></topics>',
            "entities",
        ),
        ("q.jsonl", '{"_id": "a", "text": "x"}\n{"_id": "b", "text": \n', "line 2 is not valid JSON"),
        ("q.jsonl", "", "is empty"),
        (
            "indri.xml",
            "<parameters><query><number>1</number><text>a</text></query></parameters>",
            "in XML, SGML or HTML",
        ),
    ],
)
def test_queries_that_are_refused(tmp_path, name, content, words):
    with pytest.raises(InputError, match=words):
        queries(file(tmp_path, name, content))
