"""Cross-encoders as judges, on a real one with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import MiningConfig
from hf_cocondenser.finetuning.finetune import finetune
from hf_cocondenser.finetuning.negatives.cross_encoder import label_queries, load_cross_encoder, read_unlabelled
from hf_cocondenser.finetuning.negatives.pools import read_pool, write_pool

CORPUS = {"a": "w1 w2", "b": "w3", "c": "w4 w5 w6", "d": "w7"}


def make_cross_encoder(folder: Path, backbone_folder: Path, labels: int) -> str:
    torch.manual_seed(1)
    config = BertConfig.from_pretrained(backbone_folder, num_labels=labels)
    BertForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(backbone_folder).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("labels", [1, 2])
def test_scores_are_probabilities(backbone_folder: Path, tmp_path: Path, labels: int):
    name = make_cross_encoder(tmp_path / "ce", backbone_folder, labels)
    scorer = load_cross_encoder(name)
    pairs = [("w1", "w2 w3"), ("w4 w5", "w6"), ("w7", "w8 w9 w10 w11")]
    model = BertForSequenceClassification.from_pretrained(name).eval()
    encoded = AutoTokenizer.from_pretrained(name)(
        *map(list, zip(*pairs, strict=True)), padding=True, return_tensors="pt"
    )
    logits = model(**encoded).logits.detach()
    expected = torch.sigmoid(logits[:, 0]) if labels == 1 else torch.softmax(logits, dim=1)[:, 1]
    np.testing.assert_allclose(scorer(pairs), expected.numpy(), atol=1e-5)
    assert len(scorer([])) == 0


def test_three_outputs_and_nothing_at_all_are_refused(backbone_folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match="3 outputs"):
        load_cross_encoder(make_cross_encoder(tmp_path / "ce", backbone_folder, 3))
    with pytest.raises(InputError, match="cannot be loaded"):
        load_cross_encoder(str(tmp_path / "nothing"))


def test_label_queries():
    scores = {"w1 w2": 0.95, "w3": 0.99, "w4 w5 w6": 0.5, "w7": 0.01}
    run = {"q": {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}, "r": {"c": 2.0, "d": 1.0}}
    relevant, negatives, counts = label_queries(
        run,
        {"q": "one", "r": "two"},
        CORPUS,
        lambda pairs: np.array([scores[text] for _, text in pairs]),
        above=0.9,
        below=0.1,
        depth=4,
        number=5,
    )
    assert relevant == {"q": ["b", "a"]} and negatives == {"q": ["d"]}  # r has no relevant passage, c is in doubt
    assert counts == {"unlabelled_queries": 2, "labelled": 1, "scored_pairs": 6, "pseudo_positives": 2}


def test_lines_end_at_line_feeds_alone(tmp_path):
    """JSON leaves Unicode's other line ends as they are."""
    (tmp_path / "queries.jsonl").write_text('{"text": "why\u2028do whales sing"}\n', encoding="utf-8")
    assert list(read_unlabelled(tmp_path / "queries.jsonl", []).values()) == ["why\u2028do whales sing"]
    write_pool(tmp_path / "pool.jsonl", {"q\u2028": ["d\x85"]})
    assert read_pool(tmp_path / "pool.jsonl") == {"q\u2028": ["d\x85"]}


def test_read_unlabelled(tmp_path: Path):
    path = tmp_path / "queries.txt"
    path.write_text("first\n\nsecond\nFIRST\nknown one\n")
    assert list(read_unlabelled(path, ["Known  one"]).values()) == ["first", "second"]
    with pytest.raises(InputError, match="no query"):
        read_unlabelled(path, ["first", "second", "known one"])
    path.write_text('{"query": "x"}\n')
    assert read_unlabelled(path, []) == {"unlabelled-1": "x"}
    for mixed, words in (
        ('first\n{"text": "x"}\n', "lines of JSON and others"),
        ('{"words": "x"}\n', "query_column"),
    ):
        path.write_text(mixed)
        with pytest.raises(InputError, match=words):
            read_unlabelled(path, [])
    with pytest.raises(InputError, match="does not exist"):
        read_unlabelled(tmp_path / "none", [])


def test_two_rounds_with_denoising_and_pseudo_labels(backbone_folder: Path, beir_folder: Path, tmp_path: Path):
    queries = tmp_path / "queries.jsonl"
    queries.write_text("".join(json.dumps({"text": f"w{i} w{i + 1}"}) + "\n" for i in range(0, 60, 6)))
    name = make_cross_encoder(tmp_path / "ce", backbone_folder, 1)
    mining = MiningConfig(
        mine_depth=20,
        mine_negatives=4,
        sampling="top",
        cross_encoder=name,
        negative_below=0.5,
        positive_above=0.5,
        unlabelled_queries=str(queries),
    )
    config = RetrieverTrainingArguments(max_steps=2, per_device_train_batch_size=8, eval_strategy="no", bf16=False)
    summary = finetune(backbone_folder, beir_folder, tmp_path / "out", config, mining)
    steps = summary["steps"]
    assert steps["mined"]["counts"]["cross_encoder_doubts"] > 0
    assert "cross_encoder_above_half" in steps["mined"]["audit"]
    assert 0 < steps["labelled"]["counts"]["labelled"] <= 10
    assert steps["round2"]["training_queries"] == 64 + steps["labelled"]["counts"]["labelled"]
    assert SentenceTransformer(str(tmp_path / "out")).encode(["w1"]).shape == (1, 32)
