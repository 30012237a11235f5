"""`mine_hard_negatives`: its negatives are right, and sentence-transformers' losses train on its rows."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss, TripletLoss

from hf_cocondenser import (
    InputError,
    MaskedContrastiveLoss,
    RetrievalData,
    auto_temperature,
    load_retrieval_data,
    mine_hard_negatives,
)
from hf_cocondenser.retrieval.words import same_text

CORPUS = {
    "d1": "w1 w2 w3",
    "d2": "w1 w2  W3",  # d1 once more, in other letters
    "d3": "w1 w4",
    "d4": "w1 w5",
    "d5": "w1 w5",
    "d6": "w1 w2",
    "d7": "w7 w8",
    "d8": "w1 w9",
}
QUERIES = {"a": "w1 w2", "b": "w1 w4", "c": "w1  w2"}  # c is a once more
QRELS = {"a": {"d1": 1, "d8": 0}, "b": {"d3": 1, "d4": 2}, "c": {"d7": 1}}


@pytest.fixture
def data() -> RetrievalData:
    return RetrievalData.from_dicts(CORPUS, QUERIES, QRELS, split="train")


@pytest.mark.parametrize("miner", ["bm25", "dot", "cosine"])
def test_negatives_are_not_relevant_in_id_or_text_and_differ(data, make_retriever, miner):
    model = miner if miner == "bm25" else make_retriever(miner)
    rows = mine_hard_negatives(model, data, negatives=2, depth=8)
    assert rows.column_names == ["anchor", "positive", "negative_1", "negative_2"]
    forbidden = {"w1 w2": {"w1 w2 w3", "w7 w8", "w1 w2"}, "w1 w4": {"w1 w4", "w1 w5"}}
    for row in rows:
        query = same_text(row["anchor"])
        negatives = [same_text(row[f"negative_{n}"]) for n in (1, 2)]
        assert same_text(row["positive"]) in forbidden[query]
        assert not forbidden[query] & set(negatives)
        assert len(set(negatives)) == 2 and {*negatives} <= {*map(same_text, CORPUS.values())}
    if miner != "bm25":  # every query with every distinct relevant text; "c" shares what is relevant to "a"
        found = sorted((same_text(row["anchor"]), same_text(row["positive"])) for row in rows)
        of_a = [("w1 w2", "w1 w2 w3"), ("w1 w2", "w7 w8")]
        assert found == sorted([*of_a, *of_a, ("w1 w4", "w1 w4"), ("w1 w4", "w1 w5")])


def test_the_hardest_come_first_from_a_name_and_a_path(make_retriever, beir_folder: Path, tmp_path: Path):
    model = make_retriever()
    model.save_pretrained(str(tmp_path / "model"))
    rows = mine_hard_negatives(str(tmp_path / "model"), beir_folder, negatives=3, sampling="top", labels=True)
    again = mine_hard_negatives(model, load_retrieval_data(beir_folder, "train"), negatives=3, sampling="top")
    assert rows.remove_columns("label").to_list() == again.to_list()
    scores = torch.stack(
        [
            (model.encode_query(rows["anchor"][:], convert_to_tensor=True)
             * model.encode_document(rows[f"negative_{n}"][:], convert_to_tensor=True)).sum(1)
            for n in (1, 2, 3)
        ]
    )  # fmt: skip
    assert (scores.diff(dim=0) <= 0.2).all()  # bfloat16's rounding, where the hardware has it
    assert len(rows) == 64 + 16  # 64 queries, 16 of which have a second relevant document


@pytest.mark.parametrize("loss", ["in-batch", "masked", "triplet"])
def test_sentence_transformers_trains_on_it(data, make_retriever, tmp_path: Path, loss: str):
    model: SentenceTransformer = make_retriever()
    rows = mine_hard_negatives(model, data, 1 if loss == "triplet" else 2, labels=loss == "masked")
    made = {
        "in-batch": lambda: MultipleNegativesRankingLoss(model, scale=1.0),
        "masked": lambda: MaskedContrastiveLoss(model, auto_temperature(model, data)),
        "triplet": lambda: TripletLoss(model),
    }[loss]()
    before = model[0].auto_model.embeddings.word_embeddings.weight.detach().clone()
    args = SentenceTransformerTrainingArguments(
        str(tmp_path), max_steps=2, per_device_train_batch_size=4, save_strategy="no", use_cpu=True, report_to="none"
    )
    SentenceTransformerTrainer(model, args, train_dataset=rows, loss=made).train()
    assert not torch.equal(before, model[0].auto_model.embeddings.word_embeddings.weight)


def test_queries_with_too_few_are_left_out_with_a_warning(data, make_retriever, caplog):
    with caplog.at_level(logging.WARNING, "hf_cocondenser"):
        rows = mine_hard_negatives(make_retriever(), data, negatives=4)
    assert {same_text(text) for text in rows["anchor"]} == {"w1 w4"}
    assert "2 of 3 queries have fewer than 4 hard negatives" in caplog.text


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("bm25", {"negatives": 0}, "one or more"),
        ("bm25", {"negatives": 8}, "No query has 8 hard negatives"),
        ("bm25", {"margin": 0.1}, "BM25 takes no margin"),
        (3, {}, "The model is a int"),
        ("bm25", {"depth": 0}, "bm25_depth"),
    ],
)
def test_what_cannot_be_mined_is_refused(data, model, options, message):
    with pytest.raises(InputError, match=message):
        mine_hard_negatives(model, data, **options)
