"""BEIR folders, and corpora and queries alone: what is dropped, what is counted, what is refused."""

from __future__ import annotations

import gzip
import json

import pytest

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.collection import Document, Query, assemble
from hf_cocondenser.retrieval.collections.corpora import load_corpus, load_queries
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data


def test_counts_of_an_awkward_folder(write_beir, tmp_path):
    folder = write_beir(
        tmp_path / "odd",
        queries=[("q1", "a"), ("q2", "b"), ("q3", " "), ("q4", "d")],
        qrels=[
            ("q1", "d1", 2),
            ("q1", "d1", 1),
            ("q1", "d3", 0),
            ("q2", "nowhere", 1),
            ("q2", "d6", 1),
            ("q3", "d2", 0),
            ("stranger", "d1", 1),
        ],
        line_end="\r\n",
    )
    data = load_retrieval_data(folder)
    assert data.qrels == {"q1": {"d1": 1, "d3": 0}, "q2": {"nowhere": 1, "d6": 1}, "q3": {"d2": 0}}
    assert list(data.queries) == ["q1", "q2", "q3"]
    assert data.corpus["d1"] == "Whales Whales are large sea mammals that sing and dive."
    assert data.corpus["d2"].startswith("Dolphins")
    assert data.corpus["d4"] == "Empty"
    assert data.counts == {
        "duplicate_documents": 0,
        "documents": 7,
        "empty_documents": 1,
        "duplicate_queries": 0,
        "judgements": 5,
        "judgements_of_unknown_queries": 1,
        "judgements_of_unknown_documents": 1,
        "contradicting_judgements": 1,
        "repeated_judgements": 1,
        "zero_judgements": 2,
        "graded_judgements": 0,
        "queries_without_relevant": 1,
        "queries": 3,
        "empty_queries": 1,
    }


def test_lf_and_crlf_are_the_same(write_beir, tmp_path):
    lf = load_retrieval_data(write_beir(tmp_path / "lf" / "x"))
    crlf = load_retrieval_data(write_beir(tmp_path / "crlf" / "x", line_end="\r\n"))
    assert lf == crlf
    assert lf.counts["graded_judgements"] == 1


def test_without_a_split_all_queries_are_loaded(beir_folder):
    data = load_retrieval_data(beir_folder, split=None)
    assert "q9" in data.queries and data.qrels == {}


def test_gzipped_and_numeric_ids(tmp_path):
    with gzip.open(tmp_path / "corpus.jsonl.gz", "wt") as file:
        file.write(json.dumps({"_id": 7, "text": "seven"}) + "\n\n")
    (tmp_path / "queries.jsonl").write_text(
        json.dumps({"_id": 1, "text": "one", "metadata": {"answers": ["sev"]}}) + "\n"
    )
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "dev.tsv").write_text("1\t7\t1\n")  # no header
    data = load_retrieval_data(tmp_path, split="dev")
    assert (data.corpus, data.qrels) == ({"7": "seven"}, {"1": {"7": 1}})
    assert data.answers == {"1": ("sev",)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"qrels": [("nobody", "d1", 1), ("q1", "nothing", 1)]}, "None of the 2 'test' judgements"),
        ({"qrels": []}, "qrels/test.tsv' is empty"),
        ({"qrels": [("q1", "d1", "high")]}, "line 2: The relevance 'high'"),
        ({"corpus": []}, r"corpus\.jsonl' is empty"),
        ({"corpus": [("d1", ("", "one")), ("d1", ("", "other"))]}, r"corpus.jsonl' has the id 'd1' twice"),
        ({"corpus": [("d1", ("", "one")), ("d1", ("", "one"))]}, r"corpus.jsonl' has the id 'd1' twice"),
        ({"queries": [("q1", "one"), ("q1", "one")]}, r"queries.jsonl' has the id 'q1' twice"),
    ],
)
def test_refused(write_beir, tmp_path, changes, words):
    folder = write_beir(tmp_path / "bad", **changes)
    with pytest.raises(InputError, match=words):
        load_retrieval_data(folder)


def test_rows_of_other_sources_that_come_twice():
    twice = [Document("d1", "", "one"), Document("d1", "", "one")]
    data = assemble("x", "test", twice, [Query("q", "?"), Query("q", "?")], [("q", "d1", 1)])
    assert (data.counts["duplicate_documents"], data.counts["duplicate_queries"]) == (1, 1)
    with pytest.raises(InputError, match="two different texts under the id 'd1'"):
        assemble("x", "test", [*twice, Document("d1", "", "other")], [Query("q", "?")], [("q", "d1", 1)])


@pytest.mark.parametrize("split", ["test", "train"])
def test_what_is_said_of_a_data_set_nobody_knows(write_beir, tmp_path, caplog, split):
    caplog.set_level("INFO")
    load_retrieval_data(write_beir(tmp_path / "mine", split=split), split)
    assert "mine is not a BEIR data set known by name: the default protocol is used." in caplog.text
    assert "published" not in caplog.text


def test_what_is_said_of_a_known_data_set(write_beir, tmp_path, caplog):
    load_retrieval_data(write_beir(tmp_path / "scifact", split="train"), "train")
    assert "scifact: published figures are of the split 'test', not 'train'" in caplog.text


def test_missing_split_names_those_there_are(beir_folder):
    with pytest.raises(InputError, match="there are test"):
        load_retrieval_data(beir_folder, split="dev")


@pytest.mark.parametrize("line", ["{", "[1]", '{"text": "no id"}'])
def test_broken_lines_are_named(beir_folder, line):
    with (beir_folder / "corpus.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=r"corpus\.jsonl' line 8 (is not|has no id)"):
        load_retrieval_data(beir_folder)


def test_not_text(beir_folder):
    (beir_folder / "corpus.jsonl").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(InputError, match="UTF-8"):
        load_retrieval_data(beir_folder)


@pytest.mark.parametrize("file", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_bytes_that_are_no_text(beir_folder, file):
    path = beir_folder / file
    path.write_bytes(path.read_bytes() + b"q1\t\xff\t1\n")
    with pytest.raises(InputError, match=f"{path.name}' cannot be read as UTF-8"):
        load_retrieval_data(beir_folder)


def test_a_gzipped_file_that_was_cut_short(beir_folder):
    path = beir_folder / "corpus.jsonl"
    whole = gzip.compress(path.read_bytes())
    path.with_suffix(".jsonl.gz").write_bytes(whole[: len(whole) // 2])
    path.unlink()
    with pytest.raises(InputError, match=r"corpus\.jsonl\.gz' cannot be read"):
        load_retrieval_data(beir_folder)


def test_a_byte_order_mark_is_no_part_of_the_first_id(beir_folder):
    plain = load_retrieval_data(beir_folder)
    (beir_folder / "qrels" / "test.tsv").write_text("\ufeffq1\td1\t2\n", encoding="utf-8")
    for name in ("corpus.jsonl", "queries.jsonl"):
        text = (beir_folder / name).read_text(encoding="utf-8")
        (beir_folder / name).write_text("\ufeff" + text, encoding="utf-8")
    marked = load_retrieval_data(beir_folder)
    assert marked.qrels == {"q1": {"d1": 2}} and marked.corpus == plain.corpus


@pytest.mark.parametrize(
    ("lines", "queries"),
    [
        ("q1\twhales\nq2\t\nq3\tbread \r\n\n", {"q1": "whales", "q2": "", "q3": "bread"}),
        ("whales\n\nbread\tdough\n", {"1": "whales", "2": "bread\tdough"}),
    ],
)
def test_lines_of_queries(tmp_path, lines, queries):
    (tmp_path / "queries.txt").write_text(lines, newline="")
    assert load_queries(tmp_path / "queries.txt") == queries


def test_a_line_of_queries_without_its_id(tmp_path):
    (tmp_path / "queries.tsv").write_text("q1\twhales\nq2\tfish\n\tbread\n")
    with pytest.raises(InputError, match=r"queries\.tsv' line 3 has no id"):
        load_queries(tmp_path / "queries.tsv")


def test_documents_stay_whole(tmp_path):
    rows = [
        {"_id": "a", "title": "A", "passages": ["one", "", "two", None]},
        {"_id": "b", "title": "B", "passages": ["\n", "one"]},
        {"_id": "c", "title": "C", "passages": []},
        {"_id": "d", "title": "D", "passages": [" ", ""]},
    ]
    (tmp_path / "documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus, _ = load_corpus(tmp_path / "documents.jsonl")
    assert corpus == {"a": "A one\n\ntwo", "b": "B one", "c": "C", "d": "D"}


def test_half_characters_are_replaced(write_beir, tmp_path):
    half = "\ud83d"  # as JSON may name it; no tokenizer takes it
    folder = write_beir(
        tmp_path / "halves",
        corpus={f"d{half}": (f"Whales {half}", f"sing {half} and dive 🐋")},
        queries={"q": f"whales{half}"},
        qrels=[("q", "d\ufffd", 1)],
    )
    data = load_retrieval_data(folder)
    assert data.corpus == {"d\ufffd": "Whales \ufffd sing \ufffd and dive 🐋"}
    assert data.body("d\ufffd") == "sing \ufffd and dive 🐋"
    assert data.queries == load_queries(folder / "queries.jsonl") == {"q": "whales\ufffd"}


def test_not_a_data_set(tmp_path):
    with pytest.raises(InputError, match="no data set in the layout of BEIR"):
        load_retrieval_data(tmp_path)


def test_a_folder_of_ones_own_files_is_a_corpus(tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "corpus" / "help").mkdir(parents=True)
    (tmp_path / "corpus" / "help" / "password.md").write_text("# Passwords\n\nOpen the settings.\n")
    (tmp_path / "corpus" / "printer.md").write_text("# Printers\n\nThey need a driver.\n")
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "reset my password"}\n')
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\thelp/password.md\t1\n")
    data = load_retrieval_data(tmp_path)
    assert set(data.corpus) == {"help/password.md", "printer.md"} and data.qrels == {"q": {"help/password.md": 1}}
    assert data.titles["printer.md"] == "Printers"
    assert sum("text 'text'" in line for line in caplog.messages) == 1  # one choice, told once
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d", "text": "They need a driver."}\n')
    with pytest.raises(InputError, match="judge"):
        load_retrieval_data(tmp_path)
