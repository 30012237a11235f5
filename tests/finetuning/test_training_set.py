"""What a query draws in an epoch, and the batches made of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.config import MiningConfig
from hf_cocondenser.finetuning.loss import contains, split_labels
from hf_cocondenser.finetuning.negatives.mining import bm25_pool
from hf_cocondenser.finetuning.tokens import TokenStore
from hf_cocondenser.finetuning.training_set import (
    EpochSampler,
    TrainingCollator,
    TrainingSet,
)
from hf_cocondenser.retrieval.collections.collection import RetrievalData

CORPUS = {f"d{i}": f"w{i} w{i + 1} w{i + 2}" for i in range(40)} | {"copy": "W1  w2 w3"}
QUERIES = {"a": "w1", "b": "w2 w3", "c": "w4"}
RELEVANT = {"a": ["d1"], "b": ["d2", "d3", "d5"], "c": ["d4"]}
POOLS = [{"a": ["d10", "copy", "d11", "d12"], "b": ["d2", "d20"]}, {"a": ["d13", "d10"]}]


def make(negatives: int = 2, seed: int = 0) -> TrainingSet:
    return TrainingSet(QUERIES, CORPUS, RELEVANT, POOLS, negatives, seed)


def test_draws_are_a_function_of_seed_epoch_and_index():
    first, second = make(), make()
    for epoch in (0, 3):
        first.set_epoch(epoch)
        second.set_epoch(epoch)
        forward = [first[i][1].tolist() for i in range(3)]
        backward = [second[i][1].tolist() for i in (2, 1, 0)]
        assert forward == backward[::-1]
    assert [make(seed=1)[i][1].tolist() for i in range(3)] != [make(seed=0)[i][1].tolist() for i in range(3)]


def test_every_negative_comes_once_before_one_comes_twice():
    training_set = make(negatives=2)
    drawn = []
    for epoch in range(2):
        training_set.set_epoch(epoch)
        drawn += training_set[0][1][1:].tolist()
    texts = {training_set.passages[key] for key in drawn}
    assert texts == {CORPUS[name] for name in ("d10", "d11", "d12", "d13")}  # the copy of the positive is out


def test_positives_take_turns():
    training_set = make()
    seen = []
    for epoch in range(3):
        training_set.set_epoch(epoch)
        seen.append(training_set.passages[training_set[1][1][0]])
    assert set(seen) == {CORPUS["d2"], CORPUS["d3"], CORPUS["d5"]}


def test_small_pools_are_filled_with_passages_that_are_not_relevant():
    training_set = make(negatives=5)
    for epoch in range(20):
        training_set.set_epoch(epoch)
        for index in range(3):
            _, keys = training_set[index]
            assert len(keys) == 6
            assert not set(keys[1:].tolist()) & set(training_set.relevant[index].tolist())


def test_equal_texts_share_a_key_and_queries_without_relevant_documents_are_left_out():
    training_set = TrainingSet(QUERIES, CORPUS, {"a": ["d1", "copy"], "b": []})
    assert len(training_set) == 1
    assert training_set.relevant[0].tolist() == [0]
    with pytest.raises(InputError, match="relevant"):
        TrainingSet(QUERIES, CORPUS, {})


def test_relevant_documents_are_judged_above_zero_and_in_the_corpus():
    data = RetrievalData.from_dicts(
        {"a": "x", "b": "y", "c": "z"},
        {"q": "who?", "r": "what?", "s": "where?"},
        {"q": {"a": 2, "b": 0, "c": 1, "elsewhere": 1}, "r": {"a": 0}, "s": {"elsewhere": 1}},
    )
    assert data.relevant() == {"q": ["a", "c"]}


def test_queries_of_equal_words_share_their_relevant_documents():
    """Otherwise the one's positive is mined as the other's hard negative."""
    corpus = {"a": "library hours sunday ten", "b": "library hours sunday closed", "c": "pool hours", "d": "trains"}
    queries = {"q1": "library hours sunday", "q2": "Library  hours Sunday", "q3": "pool"}
    data = RetrievalData.from_dicts(corpus, queries, {"q1": {"a"}, "q2": {"b"}, "q3": {"c"}})
    assert data.relevant() == {"q1": ["a", "b"], "q2": ["b", "a"], "q3": ["c"]}
    pool, _ = bm25_pool(data, MiningConfig(), 0)
    assert not {"a", "b"} & {*pool["q1"], *pool["q2"]}
    training_set = TrainingSet(data.queries, data.corpus, data.relevant(), [pool], 1, 0)
    assert {training_set.passages[key] for key in training_set.relevant[0]} == {corpus["a"], corpus["b"]}


@pytest.mark.parametrize("prompts", [None, {"query": "w9 w9", "document": "w8"}])
def test_stored_tokens_equal_the_models_own(make_retriever, prompts):
    model = make_retriever()
    model.prompts = prompts or model.prompts
    model[0].query_length, model[0].document_length = 5, 9
    texts = [" ".join(f"w{j}" for j in range(1, 2 + i)) for i in range(12)]
    for task in ("query", "document"):
        store = TokenStore(model, texts, task)
        chosen = [7, 0, 3]
        expected = model.preprocess([texts[i] for i in chosen], prompt=(prompts or {}).get(task) or None, task=task)
        found = store.batch(chosen)
        assert found.pop("task") == task
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(found[name], value)
            else:
                assert found[name] == value


def test_collator_orders_passages_as_the_loss_expects(make_retriever):
    training_set = make(negatives=2)
    model = make_retriever()
    collate = TrainingCollator(
        training_set,
        TokenStore(model, training_set.queries, "query"),
        TokenStore(model, training_set.passages, "document"),
    )
    items = [training_set[i] for i in (2, 0, 1)]
    batch = collate(items)
    keys, relevant = split_labels(batch["label"], 3, 9)
    assert keys.tolist() == np.stack([item[1] for item in items]).T.reshape(-1).tolist()
    decoded = model.tokenizer.batch_decode(batch["passage_input_ids"], skip_special_tokens=True)
    assert decoded == [training_set.passages[key] for key in keys]
    found = contains(relevant, keys)
    for row, (index, _) in enumerate(items):
        assert found[row].tolist() == [key in training_set.relevant[index] for key in keys.tolist()]


def test_epoch_sampler():
    sampler = EpochSampler(50, seed=1)
    first = list(sampler)
    assert sorted(first) == list(range(50)) and first == list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first


def test_as_dataset_gives_the_loss_the_same_masks(make_retriever):
    training_set = make(negatives=1)
    dataset = training_set.as_dataset(labels=True)
    assert dataset.column_names == ["anchor", "positive", "negative_1", "label"]
    assert training_set.as_dataset().column_names == ["anchor", "positive", "negative_1"]
    keys, relevant = split_labels(torch.tensor(dataset["label"][:]), len(dataset), 2 * len(dataset))
    texts = [text for name in ("positive", "negative_1") for text in dataset[name]]
    assert [training_set.passages[key] for key in keys] == texts
    for query, row in zip(dataset["anchor"], relevant.tolist(), strict=True):
        own = training_set.relevant[training_set.queries.index(query)]
        assert set(row) - {-1} == set(own.tolist())
    enough = [len(pool) > 0 for pool in training_set.pools]
    assert len(dataset) == sum(len(own) for own, kept in zip(training_set.relevant, enough, strict=True) if kept)
