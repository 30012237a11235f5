"""Which candidates become hard negatives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.config import MiningConfig
from hf_cocondenser.finetuning.negatives.audit import audit_pool, overlap
from hf_cocondenser.finetuning.negatives.mining import bm25_pool, mined_pool, scores_of
from hf_cocondenser.finetuning.negatives.pools import choose_negatives, read_pool, simans_weights, write_pool
from hf_cocondenser.finetuning.recipes import finetune_options
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
from hf_cocondenser.retrieval.dense import DenseSearcher
from hf_cocondenser.retrieval.runs import ranked

CORPUS = {"p": "the right answer", "copy": "The  right answer", "echo": "what is it"} | {
    f"n{i}": f"passage number {i}" for i in range(10)
}
QUERIES = {"q": "what is it", "n9": "another"}
RELEVANT = {"q": ["p"], "n9": ["n8"]}
RUN = {
    "q": {"copy": 20.0, "p": 19.0, "echo": 18.0, **{f"n{i}": 17.0 - i for i in range(10)}},
    "n9": {"n9": 5.0, "n8": 4.0, "n1": 3.0},
}


def choose(**options):
    settings = {"depth": 100, "number": 100, "seed": 0, "sampling": "top"} | options
    return choose_negatives(RUN, QUERIES, CORPUS, RELEVANT, **settings)


def test_positives_copies_echoes_and_the_query_itself_are_out():
    pool, counts = choose()
    assert pool == {"q": [f"n{i}" for i in range(10)], "n9": ["n1"]}
    assert counts["relevant"] == 2 and counts["equal_text"] == 3 and counts["candidates"] == 16
    assert counts["kept"] == 11 and counts["queries_without_negatives"] == 0


def test_depth_and_number():
    pool, counts = choose(depth=5, number=1)
    assert pool["q"] == ["n0"]
    assert counts["not_drawn"] == 1 and counts["candidates"] == 8


def test_random_sample_is_seeded_and_different_per_query():
    first, _ = choose(sampling="random", number=3)
    assert first == choose(sampling="random", number=3)[0]
    assert len(first["q"]) == 3
    assert any(choose(sampling="random", number=3, seed=seed)[0] != first for seed in range(1, 5))


def test_margin_drops_what_scores_near_or_above_the_positive():
    pool, counts = choose(positive_scores={"q": 16.0}, config=MiningConfig(margin=0.25))
    assert pool["q"] == [f"n{i}" for i in range(5, 10)]  # 17 - i <= 12
    assert counts["within_margin"] == 5
    negative, _ = choose(positive_scores={"q": -16.0}, config=MiningConfig(margin=0.25))
    assert negative["q"] == []  # a negative positive score: the limit lies below it, not above


def test_cross_encoder_keeps_only_clear_negatives():
    asked = []

    def given(pairs):
        asked.extend(pairs)
        return np.array([0.05 if text.endswith(("1", "3")) else 0.5 for _, text in pairs])

    pool, counts = choose(cross_encoder=given)
    assert pool == {"q": ["n1", "n3"], "n9": ["n1"]}
    assert counts["cross_encoder_doubts"] == 8
    assert ("what is it", "the right answer") not in asked  # relevant passages are not judged


def test_simans_prefers_scores_near_the_positive():
    scores = np.array([9.0, 6.0, 5.0, 1.0])
    weights = simans_weights(scores, positive=5.5, a=1.0, b=0.0)
    assert weights.sum() == pytest.approx(1)
    assert weights.argsort().tolist()[2:] in ([1, 2], [2, 1]) and weights[3] < weights[0]
    spread = scores.std()
    expected = np.exp(-(((scores - 5.5) / spread) ** 2))
    np.testing.assert_allclose(weights, expected / expected.sum())
    np.testing.assert_allclose(simans_weights(scores * 100, 550.0, 1.0, 0.0), weights)  # whatever the scale
    drawn = [
        choose(sampling="simans", number=2, seed=s, positive_scores={"q": 10.0}, config=MiningConfig(simans_a=20))[0][
            "q"
        ]
        for s in range(5)
    ]
    assert {document for pool in drawn for document in pool} <= {"n5", "n6", "n7", "n8", "n9"}


def test_pool_files(tmp_path: Path):
    pool = {"q": ["a", "é"], "r": []}
    write_pool(tmp_path / "pool.jsonl", pool)
    assert read_pool(tmp_path / "pool.jsonl") == pool
    (tmp_path / "bad.jsonl").write_text('{"query": 1}\n')
    with pytest.raises(InputError, match="Line 1"):
        read_pool(tmp_path / "bad.jsonl")


def test_bm25_pool(beir_folder: Path):
    data = load_retrieval_data(beir_folder, "train")
    pool, report = bm25_pool(data, MiningConfig(bm25_depth=20, bm25_negatives=4), seed=0)
    assert pool.keys() == data.qrels.keys()
    assert all(len(documents) == 4 for documents in pool.values())
    assert not any(set(pool[query]) & set(data.qrels[query]) for query in pool)
    # 5 of 120 documents are of a topic: far more than chance among what BM25 finds.
    same_topic = [document[1:].split("-")[0] == query[1:].split("-")[0] for query in pool for document in pool[query]]
    assert np.mean(same_topic) > 0.2
    assert "BM25" in report["miner"] and report["counts"]["relevant"] > 0


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_mined_pool_uses_the_models_scores(beir_folder: Path, make_retriever, similarity: str):
    model = make_retriever(similarity)
    data = load_retrieval_data(beir_folder, "train")
    relevant = data.relevant()
    searcher = DenseSearcher.build(model, data.corpus)
    positives = scores_of(searcher, data.queries, relevant)
    whole = searcher.search(data.queries, len(data.corpus))
    for query, scores in positives.items():
        assert scores == pytest.approx({document: whole[query][document] for document in relevant[query]}, rel=1e-4)
    pool, report = mined_pool(searcher, data, MiningConfig(mine_depth=7, mine_negatives=3), seed=1)
    for query, documents in pool.items():
        assert set(documents) <= {document for document, _ in ranked(whole[query], 7)} - set(relevant[query])
    assert report["audit"]["looked_at"] == sum(map(len, pool.values()))


def test_audit_finds_near_duplicates_and_high_scores():
    corpus = {"p": "one two three four five six", "near": "one two three four five seven", "far": "a b c d e f"}
    run = {"q": {"near": 3.0, "far": 9.0}}
    report = audit_pool({"q": ["near", "far"]}, run, {"q": {"p": 5.0}}, {"q": "?"}, corpus, seed=0)
    assert report["near_duplicates_of_a_positive"] == 1 and report["above_best_positive"] == 1
    assert len(report["examples"]) == 2
    judged = audit_pool(
        {"q": ["near", "far"]}, run, {"q": {"p": 99.0}}, {"q": "?"}, corpus, 0, lambda pairs: np.array([0.9, 0.1])
    )
    assert judged["cross_encoder_above_half"] == 1 and judged["above_best_positive"] == 0
    assert overlap("a b c", "a b c") == 1 and overlap("a b c d", "x y z") == 0 and overlap("", "") == 0


@pytest.mark.parametrize(
    "options",
    [{"margin": 1.0}, {"mine_depth": 0}, {"negative_below": 0.95}, {"unlabelled_queries": "queries.txt"}],
)
def test_bad_mining_options(options):
    with pytest.raises(InputError):
        MiningConfig(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"rounds": 3},
        {"temperature": "warm"},
        {"temperature": -1},
        {"per_device_train_batch_size": 0},
        {"dev_share": 1.0},
        {"num_train_epochs": 0},
        {"learning_rate": -1},
        {"directions": "backward"},
    ],
)
def test_bad_finetuning_options(options):
    with pytest.raises(InputError):
        finetune_options(**options)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("batch_size", "per_device_train_batch_size"), ("epochs", "num_train_epochs"), ("warmup", "warmup_steps")],
)
def test_an_unknown_option_names_the_one_that_is_meant(wrong, right):
    with pytest.raises(InputError, match=f"no option '{wrong}' of fine-tuning; there is '{right}'"):
        finetune_options(**{wrong: 1})
