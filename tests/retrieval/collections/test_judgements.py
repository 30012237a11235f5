"""Judgements: every form of file gives what was written, or one sentence."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_cocondenser import InputError, RetrievalData
from hf_cocondenser.retrieval.collections.collection import Document, Query, assemble
from hf_cocondenser.retrieval.collections.judgements import read_qrels

ROWS = [("q1", "d1", 2), ("q1", "2021-05-03", 0), ("007", "d#3", 1), ("q4", "17293822569102704641", -1)]
FIRST = [("1", "d1", 1), ("2", "d2", 0), ("3", "d3", 2)]


def lines(rows, sign="\t", end="\n") -> str:
    return "".join(sign.join(map(str, row)) + end for row in rows)


def write(path: Path, form: str, rows) -> Path:
    """Judgements in one of the forms; returns the file."""
    head = ("query-id", "corpus-id", "score")
    records = [dict(zip(head, row, strict=True)) for row in rows]
    typed = [(query, "explicit", document, grade) for query, document, grade in rows]
    content = {
        "beir.tsv": lines([head, *rows]),
        "bare.tsv": lines(rows),
        "crlf.tsv": "\ufeff" + lines([head, *rows], end="\r\n"),
        "swapped.tsv": lines([("docno", "qid", "rel"), *((d, q, g) for q, d, g in rows)]),
        "floats.tsv": lines([(q, d, f"{g}.0") for q, d, g in rows]),
        "trec.txt": lines([(q, 0, d, g) for q, d, g in rows], " "),
        "trec-tabs": lines([(q, "Q0", d, g) for q, d, g in rows], "\t"),
        "comments.qrels": "# judged by hand\n\n" + lines([(q, 0, d, g) for q, d, g in rows], "  ") + "# end",
        "trailing.tsv": lines([(*row, "") for row in [head, *rows]]),
        "bare-trailing.tsv": lines([(*row, "") for row in rows]),
        "typed.tsv": lines([(q, d, kind, g) for q, kind, d, g in typed]),
        "typed-head.tsv": lines([("query", "document", "type", "grade"), *((q, d, k, g) for q, k, d, g in typed)]),
        "rows.jsonl": "".join(json.dumps(record) + "\n" for record in records),
        "rows.json": json.dumps(records),
        "rows.csv": lines([head, *rows], ","),
    }
    if form == "rows.parquet":
        Dataset.from_list(records).to_parquet(str(path / form))
    elif form == "zipped.tsv.gz":
        (path / form).write_bytes(gzip.compress(lines([head, *rows]).encode()))
    else:
        (path / form).write_text(content[form], encoding="utf-8", newline="")
    return path / form


FORMS = [
    *("beir.tsv", "bare.tsv", "crlf.tsv", "swapped.tsv", "floats.tsv", "trec.txt", "trec-tabs", "comments.qrels"),
    *("trailing.tsv", "bare-trailing.tsv"),
    *("typed.tsv", "typed-head.tsv", "rows.jsonl", "rows.json", "rows.csv", "rows.parquet", "zipped.tsv.gz"),
]


@pytest.mark.parametrize("rows", [ROWS, FIRST], ids=["odd", "plain"])
@pytest.mark.parametrize("form", FORMS)
def test_what_was_written_is_read(form, rows, tmp_path):
    assert list(read_qrels(write(tmp_path, form, rows))) == rows


IDS = st.text(st.characters(codec="ascii", min_codepoint=33, exclude_characters='",#'), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from(
        [form for form in FORMS if not form.startswith("typed.")]
    ),  # told by how many types there are
    rows=st.lists(st.tuples(IDS, IDS, st.integers(-2, 4)), min_size=1, max_size=6, unique_by=lambda row: row[:2]),
)
def test_any_judgements_are_read_as_they_were_written(form, rows, tmp_path):
    assert list(read_qrels(write(tmp_path, form, rows))) == rows


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("q1 d1\n", "first row has 2 columns"),
        ("q1\td1\thigh\nq1\td2\t1\n", "line 1: The relevance 'high' is not a whole number"),
        ("q1\td1\t0.5\n", "line 1: The relevance '0.5' is not a whole number"),
        ("q1\td1\t1\nq2\td1\tnan\n", "line 2: The relevance 'nan'"),
        ("q1\td1\t1700000000\n", "line 1: A relevance of 1.7e.09 is no grade"),
        ("q1\td1\t" + "9" * 5000 + "\n", "line 1: A relevance of inf is no grade"),
        ("q1\td1\t1_0\n", "line 1: The relevance '1_0'"),
        ("q1\td1\t1\nq2\td1\n", "line 2 has 2 columns, and the first row 3"),
        ("query-id\tcorpus-id\tscore\nq1\td1\n", "line 2 has 2 columns, and the header 3"),
        ("q1\t\t1\n", "line 1 has no id"),
    ],
)
def test_refused_in_one_sentence(content, words, tmp_path):
    (tmp_path / "test.tsv").write_text(content)
    with pytest.raises(InputError, match=words) as told:
        list(read_qrels(tmp_path / "test.tsv"))
    assert "test.tsv" in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("q1 0 d1 1\nq2 1 d1 0\n", [("q1", "d1", 1), ("q2", "d1", 0)]),  # more iterations than documents
        ("q1\td1\texplicit\t1\n", [("q1", "d1", 1)]),
        ("q1\tU\td1\t1\nq1\tU\td2\t1\n", [("q1", "d1", 1), ("q1", "d2", 1)]),
        ("TOPIC ITERATION DOCUMENT RELEVANCY\n1 0 d1 2\n", [("1", "d1", 2)]),
    ],
)
def test_four_columns(content, expected, tmp_path):
    (tmp_path / "test.tsv").write_text(content)
    assert list(read_qrels(tmp_path / "test.tsv")) == expected


def test_json_of_another_shape_is_refused(tmp_path):
    (tmp_path / "q.jsonl").write_text('{"query": "q1", "positives": ["d1"]}\n')
    with pytest.raises(
        InputError, match="has not the columns query-id, corpus-id and score; there are query, positives"
    ):
        list(read_qrels(tmp_path / "q.jsonl"))


def test_documents_outside_the_corpus_stay_in_the_ideal_ranking(caplog):
    data = RetrievalData.from_dicts(
        {"d1": "x"}, {"q1": "a", "q2": "b"}, {"q1": {"d1": 1, "gone": 3}, "q2": {"gone": 1}}
    )
    assert data.qrels == {"q1": {"d1": 1, "gone": 3}, "q2": {"gone": 1}}
    assert data.counts["judgements_of_unknown_documents"] == 2
    assert "2 judgements of unknown documents, such as 'gone'" in caplog.text


def test_blanks_around_ids_are_dropped_everywhere(caplog):
    documents, queries = [Document(" d1", "", "x"), Document("d2\t", "", "y")], [Query("q1 ", "a")]
    data = assemble("t", "test", documents, queries, [("q1", " d1", 1), (" q1", "d2", 1)])
    assert (data.qrels, list(data.corpus), list(data.queries)) == ({"q1": {"d1": 1, "d2": 1}}, ["d1", "d2"], ["q1"])


def test_contradicting_judgements_are_told(caplog):
    documents, queries = [Document("d", "", "x")], [Query("q", "a")]
    data = assemble("t", "test", documents, queries, [("q", "d", 2), ("q", "d", 2), ("q", "d", 1)])
    assert data.qrels == {"q": {"d": 1}} and data.counts["repeated_judgements"] == 2
    assert "1 contradicting judgements: the last one of a query and document counts" in caplog.text


@pytest.mark.parametrize("empty", ["documents", "queries"])
def test_a_data_set_without_any_text_is_refused(empty):
    text = {"documents": "x", "queries": "a"} | {empty: " "}
    with pytest.raises(InputError, match=r"(document|query) of 't' has text; is it in another column"):
        assemble("t", "test", [Document("d", "", text["documents"])], [Query("q", text["queries"])], [("q", "d", 1)])
