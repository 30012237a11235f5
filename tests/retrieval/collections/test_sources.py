"""Data sets that are not BEIR folders, and the protocols of those known by name."""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.systems import measure_run
from hf_cocondenser.retrieval.collections import dpr
from hf_cocondenser.retrieval.collections.collection import Document, Query
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
from hf_cocondenser.retrieval.collections.protocols import PROTOCOLS, find_protocol, qrels_hash


def jsonl(path: Path, *rows: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_hub_layout(folder: Path, qrels_configuration: str) -> Path:
    """A repository folder with a card that declares its configurations, as the Hub's are."""
    jsonl(
        folder / "corpus.data.jsonl",
        {"_id": "d1", "title": "Whales", "text": "sing"},
        {"_id": "d2", "title": "", "text": "x"},
    )
    jsonl(folder / "queries.data.jsonl", {"_id": "q1", "text": "who sings"}, {"_id": "q2", "text": "who not"})
    jsonl(folder / "test.jsonl", {"query-id": "q1", "corpus-id": "d1", "score": 2})
    (folder / "README.md").write_text(
        f"""---
configs:
- config_name: corpus
  data_files: [{{split: corpus, path: corpus.data.jsonl}}]
- config_name: queries
  data_files: [{{split: queries, path: queries.data.jsonl}}]
- config_name: {qrels_configuration}
  data_files: [{{split: test, path: test.jsonl}}]
---
"""
    )
    return folder


@pytest.mark.parametrize("configuration", ["default", "qrels"])
def test_hub_layout(tmp_path, configuration):
    data = load_retrieval_data(write_hub_layout(tmp_path / configuration, configuration))
    assert data.corpus == {"d1": "Whales sing", "d2": "x"} and data.titles == {"d1": "Whales"}
    assert data.queries == {"q1": "who sings"} and data.qrels == {"q1": {"d1": 2}}
    assert len(load_retrieval_data(tmp_path / configuration, split=None).queries) == 2
    with pytest.raises(InputError, match="judgements of the split 'dev'"):
        load_retrieval_data(tmp_path / configuration, split="dev")


def test_a_hub_data_set_that_cannot_be_had():
    with pytest.raises(InputError, match="data set 'nobody/nothing' cannot be loaded"):
        load_retrieval_data("nobody/nothing")


def write_msmarco(folder: Path, titled: bool) -> Path:
    folder.mkdir()
    if titled:
        (folder / "para.txt").write_text("7\t-\tsing\n8\t-\tbake\n")
        (folder / "para.title.txt").write_text("7\tWhales\n")
    else:
        (folder / "collection.tsv").write_text("7\tsing\n8\tbake\n")
    (folder / "queries.dev.tsv").write_text("1\twho\n2\twhat\n3\tno one\n")
    with gzip.open(folder / "queries.dev.small.tsv.gz", "wt") as file:
        file.write("1\twho\n2\twhat\n")
    (folder / "qrels.dev.small.tsv").write_text("1\t0\t7\t1\n2\t0\t8\t1\n")
    return folder


def test_msmarco_layout(tmp_path):
    data = load_retrieval_data(write_msmarco(tmp_path / "official", titled=False), split="dev")
    assert data.corpus == {"7": "sing", "8": "bake"}
    assert data.qrels == {"1": {"7": 1}, "2": {"8": 1}}
    assert len(load_retrieval_data(tmp_path / "official", split=None).queries) == 3
    titled = load_retrieval_data(write_msmarco(tmp_path / "titled", titled=True), split="dev")
    assert titled.corpus == {"7": "Whales sing", "8": "bake"}
    with pytest.raises(InputError, match=r"no queries\.test\.tsv"):
        load_retrieval_data(tmp_path / "official", split="test")
    (tmp_path / "official" / "collection.tsv").write_text("7 sing\n")
    with pytest.raises(InputError, match=r"Line 1 of .*collection\.tsv"):
        load_retrieval_data(tmp_path / "official", split="dev")


def write_dpr(folder: Path) -> Path:
    folder.mkdir()
    (folder / "psgs_w100.tsv").write_text(
        'id\ttext\ttitle\n1\t"in ""Lourdes"", France"\tPilgrims\n2\tno town\tLourdes\n'
    )
    entry = {
        "question": "where?",
        "answers": ["Lourdes"],
        "positive_ctxs": [{"passage_id": "1", "title": "Pilgrims", "text": "in Lourdes"}],
    }
    (folder / "nq-dev.json").write_text(json.dumps([entry, {**entry, "positive_ctxs": [{"psg_id": 2}]}]))
    (folder / "nq-test.qa.csv").write_text("where?\t['Lourdes']\nwho?\t[\"No one's\"]\n")
    return folder


def test_dpr_layout(tmp_path):
    dev = load_retrieval_data(write_dpr(tmp_path / "nq"), split="dev")
    assert dev.corpus == {"1": 'Pilgrims in "Lourdes", France', "2": "Lourdes no town"}
    assert dev.qrels == {"0": {"1": 1}, "1": {"2": 1}}
    test = load_retrieval_data(tmp_path / "nq", split="test")
    assert test.answers == {"0": ("Lourdes",), "1": ("No one's",)}
    run = {"0": {"2": 2.0, "1": 1.0}, "1": {"1": 1.0}}
    assert measure_run(test, run, ["Answer@1", "Answer@5"]).means == {"Answer@1": 0.0, "Answer@5": 0.5}
    with pytest.raises(InputError, match="only Answer@k can be measured"):
        measure_run(test, run, ["nDCG@10"])
    with pytest.raises(InputError, match=r"no .*-train\.json"):
        load_retrieval_data(tmp_path / "nq", split="train")
    entry = {"question": "where?", "positive_ctxs": [{"title": "Pilgrims", "text": "in Lourdes"}]}
    (tmp_path / "nq" / "nq-dev.json").write_text(json.dumps([entry]))
    with pytest.raises(InputError, match="entry 1 has a positive context without passage_id"):
        load_retrieval_data(tmp_path / "nq", split="dev")
    (tmp_path / "nq" / "nq-dev.json").write_text(
        json.dumps([{"question": "where?", "positive_ctxs": [{"psg_id": 1}]}])
    )
    assert load_retrieval_data(tmp_path / "nq", split="dev").qrels == {"0": {"1": 1}}  # without answers
    (tmp_path / "nq" / "nq-test.qa.csv").write_text("where?\tLourdes\n")
    with pytest.raises(InputError, match="Line 1"):
        load_retrieval_data(tmp_path / "nq", split="test")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("collection.tsv", "7\tsing\tdance\n8\tbake\n", "Line 1 of .*collection.tsv' has not 2 columns"),
        ("queries.train.tsv", "1\twho\tsings\n", "Line 1 of .*queries.train.tsv' has not 2 columns"),
        ("collection.tsv", "7\tsing\n \tbake\n", "Line 2 of .* has not 2 columns"),
    ],
)
def test_msmarco_files_of_another_width_are_refused(tmp_path, name, content, words):
    folder = write_msmarco(tmp_path / "official", titled=False)
    (folder / "queries.train.tsv").write_text("1\twho\n")
    (folder / "qrels.train.tsv").write_text("1\t0\t7\t1\n")
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=words):
        load_retrieval_data(folder, "train")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('id\ttext\ttitle\n1\t"a\tT\n2\tb"\tT\n', {"1": 'T "a', "2": 'T b"'}),  # a lone quotation mark swallows no row
        ("id\ttitle\ttext\n1\tT\ta\n", {"1": "T a"}),
        ("1\ta\tT\n", {"1": "T a"}),
    ],
)
def test_passages_of_dpr(tmp_path, content, expected):
    (tmp_path / "psgs.tsv").write_text(content)
    (tmp_path / "nq-dev.qa.csv").write_text("who\t[None, 'a']\n")
    data = load_retrieval_data(tmp_path, "dev")
    assert data.corpus == expected
    assert data.answers == {"0": ("a",)}


def test_a_field_too_long_for_its_reader_is_told(tmp_path):
    """A quotation mark that is never closed takes the rest of the file for one field."""
    folder = write_dpr(tmp_path / "nq")
    (folder / "nq-test.qa.csv").write_text('where?\t"' + "['Lourdes']\n" * 1000)
    limit = csv.field_size_limit(1000)
    try:
        with pytest.raises(InputError, match=r"nq-test\.qa\.csv' cannot be read"):
            dpr.read_questions(folder, "test")
    finally:
        csv.field_size_limit(limit)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"q": "q1", "d": "d1"}, "has not the columns query-id, corpus-id and score; there are q, d"),
        ({"query-id": "q1", "corpus-id": "d1", "score": "high"}, "line 1: The relevance 'high' is not a whole number"),
        ({"query-id": "q1", "corpus-id": "d1", "score": 0.5}, "line 1: The relevance '0.5' is not a whole number"),
    ],
)
def test_judgements_of_a_hub_data_set_that_are_none(tmp_path, row, words):
    folder = write_hub_layout(tmp_path / "odd", "default")
    jsonl(folder / "test.jsonl", row)
    with pytest.raises(InputError, match=words):
        load_retrieval_data(folder)


def test_folders_of_one_name_in_hub_layout_are_not_taken_for_each_other(tmp_path):
    """datasets caches them under the last part of their path, whatever the files hold."""
    first, second = (write_hub_layout(tmp_path / kind / "data", "default") for kind in "ab")
    jsonl(
        second / "corpus.data.jsonl",
        {"_id": "d1", "text": "the second"},
        {"_id": "2021-05-03", "title": "2020-01-01", "text": "x"},
    )
    assert load_retrieval_data(first).corpus["d1"] == "Whales sing"
    assert load_retrieval_data(second).corpus == {
        "d1": "the second",
        "2021-05-03": "2020-01-01 x",
    }  # no dates inferred
    stamp = (first / "corpus.data.jsonl").stat()
    jsonl(first / "corpus.data.jsonl", {"_id": "d1", "title": "", "text": "edited"})
    os.utime(first / "corpus.data.jsonl", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert load_retrieval_data(first).corpus == {"d1": "edited"}


def test_ir_datasets(tmp_path):
    ir_datasets = pytest.importorskip("ir_datasets", reason="ir_datasets is not installed")
    (tmp_path / "docs.tsv").write_text("d1\twhales sing\nd2\tbread\n")
    (tmp_path / "queries.tsv").write_text("q1\twho sings\n")
    (tmp_path / "qrels").write_text("q1 0 d1 1\n")
    files = {
        "docs_tsv": tmp_path / "docs.tsv",
        "queries_tsv": tmp_path / "queries.tsv",
        "qrels_trec": tmp_path / "qrels",
    }
    ir_datasets.registry.register(
        "hf-cocondenser-tiny/dev", ir_datasets.create_dataset(**{k: str(v) for k, v in files.items()})
    )
    data = load_retrieval_data("ir_datasets:hf-cocondenser-tiny/dev", split="auto")
    assert (data.name, data.split) == ("hf-cocondenser-tiny", "dev")
    assert data.corpus == {"d1": "whales sing", "d2": "bread"} and data.qrels == {"q1": {"d1": 1}}
    with pytest.raises(InputError, match="no data set 'no/such'"):
        load_retrieval_data("ir_datasets:no/such")


def test_an_id_of_ir_datasets_that_names_another_split_is_refused(monkeypatch):
    part = SimpleNamespace(
        documents=lambda: [Document("d", "", "whales")],
        queries=lambda: [Query("q", "who sings")],
        judgements=lambda: [("q", "d", 1)],
    )
    monkeypatch.setattr("hf_cocondenser.retrieval.collections.loading.CatalogueDataset", lambda identifier: part)
    for name, split in (("beir/x/test", "train"), ("beir/x/train", "test"), ("msmarco-passage/dev/small", "train")):
        with pytest.raises(
            InputError, match=f"{name}' has the judgements of .* but those of '{split}' were asked for"
        ):
            load_retrieval_data(f"ir_datasets:{name}", split)
    for name, split, found in (
        ("beir/x/train", "train", "train"),
        ("beir/x/dev", "validation", "dev"),
        ("beir/x/test", "auto", "test"),
        ("msmarco-passage/dev/small", "auto", "dev"),
        ("vaswani", "train", "train"),
    ):
        assert load_retrieval_data(f"ir_datasets:{name}", split).split == found


def test_without_ir_datasets_its_name_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(InputError, match=r"pip install 'hf-cocondenser\[ir-datasets\]'"):
        load_retrieval_data("ir_datasets:beir/scifact/test")


def test_protocols_are_found_by_name():
    assert len(PROTOCOLS) == 18 + 12  # MS MARCO and the 18 sets, one of which is twelve
    assert find_protocol("/data/beir/scifact") is PROTOCOLS["scifact"]
    assert find_protocol("BeIR/SciFact").documents == 5183
    assert find_protocol("cqadupstack/android").queries == 699
    assert find_protocol("somewhere/android").name == "default"
    assert find_protocol("msmarco").split == "dev"
    assert {name for name, protocol in PROTOCOLS.items() if protocol.exclude_same_id} == {"arguana", "quora"}


def test_qrels_hash_is_of_the_content():
    assert qrels_hash({"a": {"x": 1, "y": 0}, "b": {"x": 2}}) == qrels_hash({"b": {"x": 2}, "a": {"y": 0, "x": 1}})
    assert qrels_hash({"a": {"x": 1}}) != qrels_hash({"a": {"x": 2}})


def test_a_known_name_with_other_content_is_told(write_beir, tmp_path, caplog):
    data = load_retrieval_data(write_beir(tmp_path / "scifact"), split="auto")
    assert data.protocol.name == "scifact"
    assert "7 documents instead of 5,183" in caplog.text and "do not compare" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        load_retrieval_data(write_beir(tmp_path / "mine"))
    assert "mine is not a BEIR data set known by name" in caplog.text


def test_scifact_is_beirs_own(shared_data, caplog):
    load_retrieval_data(shared_data / "scifact", split="auto")
    assert "do not compare" not in caplog.text
