"""The road without labels: queries made of documents, and the whole of `adapt` on a tiny corpus."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling

from hf_cocondenser import AdaptConfig, CondenserForPreTraining, adapt, load_documents
from hf_cocondenser.cli.main import main
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.queries.from_documents import pseudo_queries
from tests.toy_collection import WORDS

LONG = "One two three four five six seven eight nine ten eleven."


def document(name: str, title: str, *passages: str) -> dict:
    return {"_id": name, "title": title, "passages": list(passages)}


def test_titles_find_all_passages_of_their_document():
    data = pseudo_queries([document("a", " The  title ", LONG, "Other. " + LONG, "too short")], "toy")
    assert data.queries == {"a": "The title"}
    assert data.qrels == {"a": {"a#0": 1, "a#1": 1}}
    assert data.corpus == {"a#0": LONG, "a#1": "Other. " + LONG}  # the title stands nowhere


def test_first_sentences_are_taken_away_from_what_they_find():
    data = pseudo_queries([document("a", "", "What is it? " + LONG, "No end in sight " + "word " * 20)], "toy")
    assert data.queries == {"a#0": "What is it?"} and data.corpus == {"a#0": LONG}
    japanese = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"
    data = pseudo_queries([document("b", "", japanese)], "toy")
    assert data.queries == {"b#0": "吾輩は猫である。"} and data.corpus["b#0"].startswith("名前")


def test_an_abbreviation_ends_no_query():
    data = pseudo_queries([document("a", "", "Smith et al. met Dr. Jones. " + LONG)], "toy")
    assert data.queries == {"a#0": "Smith et al. met Dr. Jones."}
    assert list(pseudo_queries([document("a", "", ("all of it is lower case. " + LONG).lower())], "toy").queries)


def test_a_title_of_one_word_gives_way_to_the_first_sentence():
    data = pseudo_queries([document("a", "Whale", "What is it? " + LONG)], "toy")
    assert data.queries == {"a#0": "What is it?"}


def test_what_is_no_good_query():
    with pytest.raises(InputError, match="gives a query"):
        pseudo_queries([document("a", "Introduction", LONG), document("b", "", LONG)], "toy")
    data = pseudo_queries(
        [
            document("a", "The end", LONG),
            document("b", "the  END", LONG + " b"),
            document("c", "The start", LONG + " c"),
        ],
        "toy",
    )
    assert list(data.queries) == ["c"] and len(data.corpus) == 3
    assert len(pseudo_queries([document("a", "The end", *[f"{LONG} {i}" for i in range(9)])], "toy", 3).corpus) == 3


def write_documents(folder: Path) -> Path:
    """Forty documents of words that go together."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(40):
        words = rng.choice(200, 12, replace=False)
        sentences = [" ".join(f"w{w}" for w in rng.choice(words, 8)) + " ." for _ in range(20)]
        title = " ".join(f"w{w}" for w in words[:3])
        rows.append({"_id": f"d{number}", "title": title, "text": " ".join(sentences)})
    path = folder / "documents.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", ["rows", "datasets", "loaded"])
def test_documents_in_memory(backbone_folder, tmp_path, monkeypatch, kind):
    rows = [
        {"_id": str(n), "title": f"w{n} w{n + 1} w{n + 2}", "text": f"{' '.join(WORDS[n : n + 20])}."}
        for n in range(20)
    ]
    given = {"rows": rows, "datasets": Dataset.from_list(rows), "loaded": load_documents(rows)}[kind]
    monkeypatch.setattr("hf_cocondenser.finetuning.adapt.finetune", lambda start, train, *args, **options: train)
    train = adapt(str(backbone_folder), given, tmp_path / "out", AdaptConfig(pretrain_epochs=0))
    assert len(train.queries) == 20 and train.queries["3"] == "w3 w4 w5"


@pytest.mark.parametrize(
    ("sentences", "said"), [(4, "The documents are short: spans have"), (1, "it is not pre-trained on them")]
)
def test_short_documents_are_no_reason_to_stop(backbone_folder, tmp_path, caplog, sentences, said):
    """A frequently asked question and its answer: too short for two spans of eighty tokens, or for two at all."""
    sentence = " ".join(WORDS[:12]) + " ."
    rows = [{"_id": str(n), "title": f"w{n} w{n + 1}", "text": " ".join([sentence] * sentences)} for n in range(12)]
    options = {"rounds": 1, "max_steps": 1, "per_device_train_batch_size": 4, "eval_strategy": "no", "bf16": False}
    caplog.set_level("INFO")
    adapt(str(backbone_folder), rows, tmp_path / "out", AdaptConfig(pretrain_steps=1), **options)
    assert said in caplog.text and (tmp_path / "out" / "modules.json").is_file()


@pytest.mark.parametrize(
    ("flags", "pooling", "similarity"),
    [([], "mean", "cosine"), (["--pooling", "cls"], "cls", "dot"), (["--similarity", "dot"], "mean", "dot")],
)
def test_a_retriever_keeps_its_pooling_unless_told_otherwise(make_retriever, tmp_path, flags, pooling, similarity):
    start = make_retriever("cosine")
    start[1] = Pooling(start[0].get_embedding_dimension(), "mean")
    start.save_pretrained(str(tmp_path / "start"))
    command = ["adapt", str(tmp_path / "start"), "--documents", str(write_documents(tmp_path)), *flags]
    command += ["--output-dir", str(tmp_path / "out"), "--pretrain-steps", "3", "--pretrain-max-length", "62"]
    command += [
        "--max-steps",
        "1",
        "--batch-size",
        "8",
        "--eval-strategy",
        "no",
        "--rounds",
        "1",
        "--learning-rate",
        "1e-30",
    ]
    assert main([*command, "--no-bf16"]) == 0
    adapted = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    assert adapted[1].pooling_mode == pooling and adapted.similarity_fn_name == similarity
    # the pre-trained encoder: fine-tuning at so low a rate changed nothing
    checkpoint = tmp_path / "out" / "steps" / "pretrained" / "checkpoint"
    pretrained = CondenserForPreTraining.from_pretrained(checkpoint).get_backbone().state_dict()
    for name, weight in adapted[0].auto_model.state_dict().items():
        torch.testing.assert_close(weight, pretrained[name], rtol=0, atol=0)
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "base_model:" not in card and "| Base model | start (a local checkpoint) |" in card
    assert "coCondenser pre-training: " in card
    before = start[0].auto_model.state_dict()
    assert any(not torch.equal(weight, before[name]) for name, weight in pretrained.items() if name in before)


def test_adapt_end_to_end(backbone_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Forty documents, so that the default batch of 128 has to give way."""
    command = ["adapt", str(backbone_folder), "--documents", str(write_documents(tmp_path))]
    command += ["--output-dir", str(tmp_path / "out"), "--pretrain-steps", "2"]
    caplog.set_level("INFO")
    command += [
        "--max-steps",
        "2",
        "--batch-size",
        "8",
        "--eval-steps",
        "2",
        "--rounds",
        "1",
        "--no-bf16",
    ]
    command += ["--pretrain-max-length", "62"]
    assert main(command) == 0
    assert "40 documents give pairs of spans: pretrain_batch_size is lowered from 128 to 40." in caplog.text
    summary = json.loads((tmp_path / "out" / "finetuning.json").read_text())
    assert summary["data"]["training_queries"] == 36 and summary["dev"]["queries"] == 4
    assert (
        json.loads((tmp_path / "out" / "steps" / "pretrained" / "manifest.json").read_text())["result"]["steps"] == 2
    )
    assert SentenceTransformer(str(tmp_path / "out")).encode(["w1"]).shape == (1, 32)
    before = (tmp_path / "out" / "steps" / "pretrained" / "manifest.json").stat().st_mtime_ns
    assert main(command) == 0
    assert (tmp_path / "out" / "steps" / "pretrained" / "manifest.json").stat().st_mtime_ns == before
    config = backbone_folder / "config.json"
    kept = config.read_text()
    try:  # another checkpoint under the same name
        config.write_text(kept.replace("{", '{"initializer_range": 0.5,', 1))
        assert main(command) == 2
    finally:
        config.write_text(kept)
