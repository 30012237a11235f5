"""Model cards: true to the folder, readable by the Hub, and their examples run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from hf_cocondenser import InputError
from hf_cocondenser.hub.card import FROM_SCRATCH, CardData, is_edited, write_card
from hf_cocondenser.hub.export import save_retriever
from hf_cocondenser.hub.layout import make_portable
from hf_cocondenser.hub.records import card_from_records
from hf_cocondenser.hub.results import Result

SPANS = {
    "folder": "/home/me/spans",
    "source": "/home/me/secret/corpus.jsonl",
    "tokenizer": {"name": "/home/me/tokenizer", "hash": "x"},
    "counts": {"documents": 12345, "tokens": 678901},
}
CONDENSER = {
    "start": "bert:4x256",
    "stage": "condenser",
    "spans": SPANS,
    "options": {"n_head_layers": 2, "skip_from": None, "late_mlm": True, "dropout": 0.0},
    "optimisation": {"learning_rate": 0.0003, "bf16": True, "fp16": False},
    "steps": 1000,
    "epochs": 2.5,
    "tokens": 98765432,
    "log": [],
    "earlier_stage": None,
}
COCONDENSER = CONDENSER | {"start": "/home/me/condenser", "stage": "cocondenser", "earlier_stage": CONDENSER}
FINETUNING = {
    "checkpoint": "bert-base-uncased",
    "data": {"name": "scifact", "training_queries": 809},
    "finetuning": {"epochs": 3.0, "untied": False, "seed": 42},
    "mining": {"bm25_depth": 200, "margin": None},
}


@pytest.fixture
def retriever(checkpoint: Path, tmp_path: Path) -> Path:
    """An exported retriever."""
    return save_retriever(checkpoint, tmp_path / "mine", with_condenser=True)


def read(folder: Path) -> tuple[dict, str]:
    """Metadata and text of a card."""
    card = ModelCard.load(folder / "README.md")
    return card.data.to_dict(), card.text


def test_pretrained_only_says_plainly_that_it_is_no_retriever(retriever):
    metadata, text = read(retriever)
    assert metadata["library_name"] == "sentence-transformers" and metadata["pipeline_tag"] == "feature-extraction"
    assert "this is NOT yet a retriever" in text
    assert "| Similarity | dot product |" in text and "| Score range | unbounded" in text
    assert "| Longest input | 64 tokens |" in text and "| Vector | 32 numbers, CLS pooling |" in text
    assert all(paper in text for paper in ("2104.08253", "2108.05540", "2101.06983"))
    assert "Nothing has been measured" in text


def test_examples_of_the_card_run(retriever, monkeypatch, capsys):
    """The Python blocks of a card, word for word; both ways give the same score."""
    monkeypatch.chdir(retriever.parent)
    blocks = re.findall(r"```python\n(.*?)```", read(retriever)[1], re.S)
    assert len(blocks) == 3
    spaces = [{} for _ in blocks]
    for block, space in zip(blocks, spaces, strict=True):
        exec(block, space)
    with_library = torch.as_tensor(spaces[0]["model"].similarity(spaces[0]["queries"], spaces[0]["passages"]))
    alone = spaces[1]["queries"] @ spaces[1]["passages"].T
    torch.testing.assert_close(with_library[:, :1], alone, rtol=1e-4, atol=1e-4)
    assert type(spaces[2]["model"]).__name__ == "CondenserForPreTraining"


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_examples_of_a_finetuned_card_use_prompts_and_similarity(
    similarity, checkpoint, tmp_path, monkeypatch, capsys
):
    prompts = {"query": 'Instruct: find "rain"\nQuery: ', "document": "light: "}
    folder = save_retriever(checkpoint, tmp_path / "mine", similarity=similarity, prompts=prompts)
    write_card(folder, CardData("Mine", "finetuned", address="mine"))
    metadata, text = read(folder)
    assert metadata["pipeline_tag"] == "sentence-similarity" and "NOT yet" not in text
    assert r'query: `"Instruct: find \"rain\"\nQuery: "`, document: `"light: "`' in text
    assert ("-1 to 1" in text) is (similarity == "cosine")
    monkeypatch.chdir(tmp_path)
    spaces: list[dict] = [{}, {}]
    for block, space in zip(re.findall(r"```python\n(.*?)```", text, re.S), spaces, strict=True):
        exec(block, space)
    with_library = torch.as_tensor(spaces[0]["model"].similarity(spaces[0]["queries"], spaces[0]["passages"]))
    alone = spaces[1]["queries"] @ spaces[1]["passages"].T
    torch.testing.assert_close(with_library[:, :1], alone, rtol=1e-4, atol=1e-4)


def test_both_stages_of_pretraining_are_told_and_no_path_of_the_maker(checkpoint, tmp_path):
    source = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, source)
    (source / "pretraining.json").write_text(json.dumps(COCONDENSER))
    folder = save_retriever(source, tmp_path / "mine", with_condenser=True)
    metadata, text = read(folder)
    assert "base_model" not in metadata and f"| Base model | {FROM_SCRATCH} |" in text
    assert "| Stage | Condenser and coCondenser pre-training, not fine-tuned |" in text
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert lines == [
        f"- {stage} pre-training: corpus.jsonl, 12,345 documents, 678,901 tokens; 98,765,432 tokens seen in 1,000 steps"
        for stage in ("Condenser", "coCondenser")
    ]
    assert text.index("### Condenser pre-training") < text.index("### coCondenser pre-training")
    assert "| learning_rate | 0.0003 |" in text and "| bf16 | True |" in text
    assert "fp16" not in text and "skip_from" not in text
    for record in (folder / "pretraining.json", folder / "condenser" / "pretraining.json"):
        told = json.loads(record.read_text())
        assert "/home/me" not in record.read_text() and told["steps"] == 1000
        assert told["earlier_stage"]["spans"]["source"] == "corpus.jsonl"


def test_averaged_weights_are_told(retriever):
    (retriever / "pretraining.json").write_text(json.dumps(CONDENSER | {"averaged_with": ["first-part", "start"]}))
    (line,) = card_from_records(retriever).training_data
    assert line.endswith("in 1,000 steps; the weights are the mean of these and of first-part, start")


def test_finetuned_card_with_measured_results(retriever):
    (retriever / "finetuning.json").write_text(json.dumps(FINETUNING))
    rows = [
        {"dataset": "SciFact (test)", "measures": {"nDCG@10": 0.65432, "Recall@100": 0.9}, "queries": 300},
        {"dataset": "SciFact (test)", "measures": {"nDCG@10": 0.6647}, "system": "BM25", "queries": 300},
    ]
    (retriever / "results.json").write_text(json.dumps(rows))
    write_card(retriever, card_from_records(retriever))
    metadata, text = read(retriever)
    assert metadata["base_model"] == "bert-base-uncased"
    assert "- Fine-tuning: scifact, 809 training queries" in text
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "| Data set | Queries | System | nDCG@10 | Recall@100 |" in rows
    assert "| SciFact (test) | 300 | this model | 0.6543 | 0.9000 |" in rows
    assert "| SciFact (test) | 300 | BM25 | 0.6647 | |" in rows
    (index,) = metadata["model-index"]
    assert index["name"] == "mine"
    measured = [(m["name"], m["value"]) for result in index["results"] for m in result["metrics"]]
    assert measured == [("nDCG@10", 0.6543), ("Recall@100", 0.9)], "BM25's figures are not this model's"


def test_metadata_is_what_the_hub_accepts(retriever):
    card = CardData(
        "Mine", "finetuned", language=["en", "de"], license="apache-2.0", datasets=["me/data"], base_model="me/base",
        results=[Result("Data", {"nDCG@10": 0.5})], limits="Only tested on toys.",
    )  # fmt: skip
    write_card(retriever, card)
    header = yaml.safe_load((retriever / "README.md").read_text().split("---")[1])
    assert header["language"] == ["en", "de"] and header["license"] == "apache-2.0"
    assert header["datasets"] == ["me/data"] and header["base_model"] == "me/base"
    assert "Only tested on toys." in (retriever / "README.md").read_text()
    write_card(retriever, CardData("Mine", "finetuned", base_model="../a folder/of mine"))
    assert "base_model" not in read(retriever)[0]


@pytest.mark.parametrize(
    "content", ["{", "[1]", '[{"dataset": "x"}]', '{"a": 1}', '[{"dataset": "x", "measures": {}, "no": 1}]']
)
def test_results_that_are_none(content, retriever):
    (retriever / "results.json").write_text(content)
    with pytest.raises(InputError, match=r"results\.json"):
        write_card(retriever, CardData("Mine", "finetuned"))
    assert "NOT yet" in read(retriever)[1], "the old card stands"


def test_other_kinds_of_retrievers_have_cards_and_stay_loadable(retriever, tmp_path):
    """Two encoders, normalised vectors, mean pooling and lengths by kind of text, as fine-tuning makes them."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Router, Transformer

    def encoder() -> Transformer:
        return Transformer(str(retriever), query_length=16, document_length=32)

    def routes() -> Router:
        modules = [[encoder(), Pooling(32, "cls")] for _ in range(2)]
        return Router.for_query_document(query_modules=modules[0], document_modules=modules[1])

    kinds = {
        "untied": SentenceTransformer(modules=[routes()], similarity_fn_name="dot"),
        "mean": SentenceTransformer(modules=[encoder(), Pooling(32, "mean"), Normalize()], similarity_fn_name="dot"),
    }
    for name, model in kinds.items():
        folder = tmp_path / name
        model.save_pretrained(str(folder), create_model_card=False)
        before = model.encode_document(["The lighthouse keeper wrote letters to the harbour. " * 9])
        make_portable(folder)
        make_portable(folder)  # once more changes nothing
        again = SentenceTransformer(str(folder), device="cpu")
        after = again.encode_document(["The lighthouse keeper wrote letters to the harbour. " * 9])
        assert abs(before - after).max() < 1e-6
        write_card(folder, CardData(name, "finetuned"))
        text = read(folder)[1]
        assert "16 tokens per query, 32 tokens per passage" in text and "AutoModel" not in text
    assert "two encoders" in read(tmp_path / "untied")[1]
    assert "mean pooling, normalised to length 1" in read(tmp_path / "mean")[1]
    modules = json.loads((tmp_path / "mean" / "modules.json").read_text())
    assert [m["type"].rsplit(".", 1)[0] for m in modules] == ["sentence_transformers.models"] * 3


def test_top_level_folder_holds_the_template_of_the_package():
    root = Path(__file__).resolve().parents[2]
    template = root / "model_cards" / "template.md"
    assert template.read_bytes() == (root / "hf_cocondenser" / "hub" / "card_template.md").read_bytes()


def test_a_card_of_other_bytes_than_text_was_edited(tmp_path):
    """It stays as it is, and stops nothing."""
    (tmp_path / "README.md").write_bytes(b"\x00\xffgarbage")
    assert is_edited(tmp_path / "README.md")
