"""Judged collections that are made in memory."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from hf_cocondenser import InputError, RetrievalData

CORPUS = {"d1": "whales sing", "d2": {"title": "Bread", "text": "is baked"}}
QUERIES = {"q1": "who sings?", "q2": "what is baked?"}


@pytest.mark.parametrize(
    "qrels",
    [
        {"q1": {"d1": 1}, "q2": {"d2": 1}},
        {"q1": {"d1"}, "q2": ["d2"]},
        {"q1": "d1", "q2": ("d2",)},
        {"q1": {"d1": True}, "q2": {"d2": np.float64(1)}},
    ],
)
def test_judgements_are_dicts_or_the_relevant_documents(qrels):
    data = RetrievalData.from_dicts(CORPUS, QUERIES, qrels, name="tiny")
    assert data.qrels == {"q1": {"d1": 1}, "q2": {"d2": 1}}
    assert data.corpus == {"d1": "whales sing", "d2": "Bread is baked"} and data.titles == {"d2": "Bread"}
    assert repr(data) == "RetrievalData('tiny', split='test': 2 documents, 2 queries, 2 judgements)"


def test_integer_ids_become_strings():
    data = RetrievalData.from_dicts({1: "x", np.int64(2): "y"}, {7: "a"}, {7: {1: 1, 2: 0}})
    assert (list(data.corpus), data.queries, data.qrels) == (["1", "2"], {"7": "a"}, {"7": {"1": 1, "2": 0}})


def test_rows_of_datasets():
    data = RetrievalData.from_datasets(
        Dataset.from_list([{"docid": 1, "title": "T", "contents": "x"}, {"docid": 2, "title": "", "contents": "y"}]),
        [{"qid": 5, "query": "who?"}],
        Dataset.from_list([{"query-id": 5, "corpus-id": 1, "score": 2}]),
    )
    assert (data.corpus, data.queries, data.qrels) == ({"1": "T x", "2": "y"}, {"5": "who?"}, {"5": {"1": 2}})


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (({"d": None}, {"q": "a"}, {"q": {"d"}}), "None is no text"),
        (({"d": "x"}, {"q": ["a"]}, {"q": {"d"}}), r"\['a'\] is no text"),
        (({None: "x"}, {"q": "a"}, {"q": {"d"}}), "None is no id"),
        (({1.5: "x"}, {"q": "a"}, {"q": {"d"}}), "1.5 is no id"),
        (({"d": "x"}, {"q": "a"}, {"q": {"d": 0.5}}), "0.5 is not a whole number"),
        (({"d": "x"}, {"q": "a"}, {"q": None}), "judgements of query 'q' are None"),
        (({"d": "x"}, {"q": "a"}, [("q", "d")]), "are a dict query id -> relevant documents, not list"),
        (({"d": "x"}, {"q": "a"}, {"other": {"d"}}), "None of the 1 'test' judgements"),
        (({"d": "x"}, {"q": "a"}, {"q": {"other"}}), "None of the 1 'test' judgements"),
        (({"d": "x"}, {"q": "a"}, {}), "judgements of 'data' are empty"),
        (({}, {"q": "a"}, {"q": {"d"}}), "corpus of 'data' is empty"),
        (({1: "x", "1": "y"}, {"q": "a"}, {"q": {"1"}}), "two different texts under the id '1'"),
    ],
)
def test_refused_in_one_sentence(parts, words):
    with pytest.raises(InputError, match=words):
        RetrievalData.from_dicts(*parts)


@pytest.mark.parametrize(
    ("corpus", "queries", "qrels", "words"),
    [
        ({"d": "x"}, {"q": "a"}, {"other": {"d": 1}}, "judged query 'other' is not among the queries"),
        ({1: "x"}, {"q": "a"}, {"q": {"d": 1}}, "document id 1 is not a string"),
        ({"d": "x"}, {"q": "a"}, {"q": {"d"}}, "not set; RetrievalData.from_dicts puts it right"),
    ],
)
def test_one_that_is_put_together_by_hand_is_checked(corpus, queries, qrels, words):
    with pytest.raises(InputError, match=words):
        RetrievalData("mine", "test", corpus, queries, qrels)
