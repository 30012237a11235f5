"""Which columns of training files are taken for queries, their answers and negatives: never ids, links or labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hf_cocondenser.data.reading.pairs import read_pairs
from hf_cocondenser.errors import InputError


def write(tmp_path: Path, content: str | list) -> Path:
    if isinstance(content, str):
        path = tmp_path / ("pairs.tsv" if "\t" in content else "pairs.csv")
        path.write_text(content, encoding="utf-8")
    else:
        path = tmp_path / "pairs.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    return path


def read(path: Path, **columns: str) -> list[tuple]:
    return [(pair.query, pair.positives, pair.negatives) for pair in read_pairs(path, **columns)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(
            [
                {
                    "query_id": "7",
                    "query": "q",
                    "positive_passages": [{"docid": "d", "title": "t", "text": "p"}],
                    "negative_passages": [{"docid": "e", "title": "", "text": "n"}],
                }
            ],
            [("q", ["t p"], ["n"])],
            id="tevatron",
        ),
        pytest.param(
            [
                {
                    "question": "q",
                    "answers": ["nine"],
                    "positive_ctxs": [{"title": "t", "text": "p"}],
                    "hard_negative_ctxs": [{"title": "", "text": "h"}],
                    "negative_ctxs": [],
                }
            ],
            [("q", ["t p"], ["h"])],
            id="dpr",
        ),
        pytest.param(
            [{"query": "q", "pos": [], "neg": ["n"]}, {"query": "r", "pos": ["p", "o"], "neg": ["n"]}],
            [("r", ["p", "o"], ["n"])],
            id="flagembedding, first row without a positive",
        ),
        pytest.param(
            [{"query": "q", "positives": [], "negatives": ["n"]}, {"query": "r", "positives": ["p"], "negatives": []}],
            [("r", ["p"], [])],
            id="positives and negatives",
        ),
        pytest.param(
            [{"anchor": "a", "positive": "p", "negative_1": "n", "negative_2": "m"}], [("a", ["p"], ["n", "m"])], id="st"
        ),
        pytest.param([["q one", "a one"], ["q two", "a two"]], [("q one", ["a one"], []), ("q two", ["a two"], [])]),
        pytest.param([["q one", "a one", "n one"]], [("q one", ["a one"], ["n one"])], id="triplet lines"),
        pytest.param([{"set": ["a", "b", "c"]}], [("a", ["b", "c"], [])], id="set"),
        pytest.param([{"texts": ["a", "b"]}], [("a", ["b"], [])], id="texts"),
        pytest.param(
            "question,answer,url\nq one,,https://x.org/1\nq two,a two,https://x.org/2\n",
            [("q two", ["a two"], [])],
            id="first answer empty",
        ),
        pytest.param(
            [{"question": "q", "answer": None, "url": "http://x.org"}, {"question": "r", "answer": "b", "url": "http://y"}],
            [("r", ["b"], [])],
            id="first answer null",
        ),
        pytest.param(
            "sentence1,sentence2,label\none,two,1\nthree,four,0\n", [("one", ["two"], [])], id="label of 0 and 1"
        ),
        pytest.param(
            "question1,question2,is_duplicate\na b,b c,0\nc d,d e,1\n",
            [("c d", ["d e"], [])],
            id="is_duplicate",
        ),
        pytest.param(
            [{"query": "q", "passages": ["x", "y"], "labels": [0, 1]}], [("q", ["y"], ["x"])], id="labels of passages"
        ),
        pytest.param(
            [{"query": "q", "passages": {"is_selected": [0, 1], "passage_text": ["x", "y"]}, "answers": ["short"]}],
            [("q", ["y"], [])],
            id="ms marco v1.1",
        ),
        pytest.param(
            "question,context,answer\nq one,ctx one,a one,\nq two,ctx two,a two,\n",
            [("q one", ["ctx one"], []), ("q two", ["ctx two"], [])],
            id="squad-like, trailing delimiter",
        ),
        pytest.param(
            [{"id": "1", "title": "t", "question": "q", "context": "c", "answers": {"text": ["a"], "answer_start": [3]}}],
            [("q", ["c"], [])],
            id="squad",
        ),
        pytest.param(
            [
                {"question": "when was it signed", "answer": "1648-10-24", "note": "see page nine"},
                {"question": "when did it end", "answer": "1945-05-08", "note": "see page ten"},
            ],
            [("when was it signed", ["1648-10-24"], []), ("when did it end", ["1945-05-08"], [])],
            id="dates as answers",
        ),
        pytest.param(
            [
                {"query": "q", "positive_doc": "p", "negative_doc": "n"},
                {"query": "r", "positive_doc": "o", "hard_neg_texts": ["m"]},
            ],
            [("q", ["p"], ["n"]), ("r", ["o"], ["m"])],
            id="negatives under other names",
        ),
        pytest.param([{"prompt": "q", "chosen": "p", "rejected": "n"}], [("q", ["p"], ["n"])], id="preferences"),
        pytest.param(
            "query,passage,label\na b,c d,1\na b,e f,\n", [("a b", ["c d"], [])], id="a label that is missing"
        ),
        pytest.param("asked,said,votes\nwhy,because,12\n", [("why", ["because"], [])], id="other names"),
        pytest.param("Frage;Antwort\nWer, bitte?;Ich, natürlich, wer denn sonst hier\n", None, id="semicolons, foreign names"),
        pytest.param(
            "question;answer\nwho, then?;me, of course\n", [("who, then?", ["me, of course"], [])], id="semicolons"
        ),
        pytest.param(
            "how do cats sleep at night\tcurled up\nwhy do dogs bark\tto talk\n",
            [("how do cats sleep at night", ["curled up"], []), ("why do dogs bark", ["to talk"], [])],
            id="no header",
        ),
    ],
)  # fmt: skip
def test_shapes(tmp_path, content, expected):
    path = write(tmp_path, content)
    if expected is None:
        expected = [("Wer, bitte?", ["Ich, natürlich, wer denn sonst hier"], [])]
    assert read(path) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([{"qid": "q-1", "query": "q"}], "cannot be told"),
        ([{"id": "u1", "question": "q"}], "positive_column"),
        ([{"question": "q", "link": "https://x.org/a"}], "cannot be told"),
        ([{"query": "q", "neg": ["n"]}], "cannot be told"),
        ([{"sentence1": "a", "sentence2": "b", "score": 3.8}], "grades its pairs"),
        ([{"sentence1": "a", "sentence2": "b", "gold_label": "entailment"}], "grades its pairs"),
        ([{"query": "q", "positive_passages": [{"docid": "d7"}]}], "line 1 has passages without a text|holds no texts"),
        ([{"query": "q", "pos": [], "neg": ["n"]}], "no pair with a question and an answer"),
        ([{"a b": "x y", "c d": "z w", "e f": "u v"}], "cannot be told; there are a b, c d, e f"),
        ("7\tsing and dive\n8\tbake and eat\n", "cannot be told"),
        ("how,so\nwhy,thus\n", "is a header cannot be told"),
        ("question,answer\nwhat purrs,Cats purr, and sleep\n", r"pairs\.csv' line 2 has 3 cells"),
        ([{"query": "q", "negative_doc_text": "so it is not"}], "cannot be told"),
        ([{"query": "q", "incorrect_answer": "so it is not"}], "cannot be told"),
        ([{"query": "q", "difficulty": "easy"}, {"query": "r", "difficulty": "hard"}], "cannot be told"),
        ([{"query": "q", "gold": "doc12"}], "cannot be told"),
        ("question,answer\nwhere,https://x.org/a\n", "holds no texts, but 'https://x.org/a'"),
        ([{"query": "q", "passage": "p", "label": 1}] * 120 + [{"query": "q", "passage": "p", "label": 2}], "line 121 grades"),
        ([{"query": "q", "passages": ["p"], "labels": [1]}] * 101 + [{"query": "q", "passages": ["p"], "labels": [3]}], "102"),
        ([{"question": "q", "context": [["T", ["s1", "s2"]]]}], "line 1 has lists within its list of passages"),
        ([["q", "a"], {"query": "q"}], "line 2 is not a JSON list"),
        ([{"query": "q", "passages": ["a"], "labels": [1, 0]}], "line 1 has 2 labels"),
    ],
)  # fmt: skip
def test_refused(tmp_path, content, words):
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=words):
        read(path)


def test_columns_by_name_and_number(tmp_path):
    squad = write(tmp_path, [{"question": "q", "context": "c", "answer": "a"}])
    assert read(squad, positive_column="answer") == [("q", ["a"], [])]
    (tmp_path / "a.tsv").write_text("1\tq\tp\tn\n2\tr\to\tm\n")
    columns = {"query_column": "2", "positive_column": "3", "negative_column": "4"}
    assert read(tmp_path / "a.tsv", **columns) == [("q", ["p"], ["n"]), ("r", ["o"], ["m"])]
    scored = write(tmp_path, [{"sentence1": "a", "sentence2": "b", "score": 3.8}])
    assert read(scored, query_column="sentence1", positive_column="sentence2") == [("a", ["b"], [])]
    with pytest.raises(InputError, match=r"no column 'reply' \(positive_column\); there are question"):
        read(write(tmp_path, [{"question": "q", "answer": "a"}]), positive_column="reply")


def test_the_choice_and_what_is_left_out_are_told(tmp_path, caplog):
    caplog.set_level("INFO")
    read(write(tmp_path, [{"query": "who", "pos": ["me"]}, {"query": "", "pos": ["x"]}, {"query": "why", "pos": []}]))
    assert "query 'query' ('who'), positive 'pos'" in caplog.text
    assert "1 pairs are read; rows left out: 1 without a query, 1 without a positive" in caplog.text
