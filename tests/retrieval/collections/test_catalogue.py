"""Data sets of ir_datasets: records of its own types give the text that it says."""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace

import pytest

ir_datasets = pytest.importorskip("ir_datasets", reason="ir_datasets is not installed")

from ir_datasets.datasets.clinicaltrials import ClinicalTrialsDoc  # noqa: E402
from ir_datasets.datasets.cord19 import Cord19Doc, Cord19FullTextDoc, Cord19FullTextSection  # noqa: E402
from ir_datasets.datasets.gov import GovDoc  # noqa: E402
from ir_datasets.datasets.highwire import HighwireDoc, HighwireSpan  # noqa: E402
from ir_datasets.datasets.medline import TrecPmQuery  # noqa: E402
from ir_datasets.datasets.trec_cast import Cast2019Query  # noqa: E402
from ir_datasets.datasets.trec_mandarin import TrecMandarinQuery  # noqa: E402
from ir_datasets.formats import GenericDoc, GenericQuery, TrecQrel, TrecQuery  # noqa: E402
from ir_datasets.formats.webarc import WarcDoc  # noqa: E402

from hf_cocondenser import InputError, load_retrieval_data  # noqa: E402

HTML = b"<html><head><title>Whales </title></head><body><p>sing loudly</p></body></html>"
SPANS = (HighwireSpan(0, 4, "They"), HighwireSpan(5, 5, "sing."))
MANDARIN = TrecMandarinQuery(*("q" if name == "query_id" else f"{name} text" for name in TrecMandarinQuery._fields))
DOCUMENT, QUERY, QREL = GenericDoc("d", "whales sing"), GenericQuery("q", "who sings"), TrecQrel("q", "d", 1, "0")


@pytest.fixture
def load(monkeypatch):
    """`load(docs=..., queries=..., qrels=...)`: the data set of such records, loaded."""

    def load(docs=(DOCUMENT,), queries=(QUERY,), qrels=(QREL,)):
        parts = {"docs": docs, "queries": queries, "qrels": qrels}
        entry = SimpleNamespace(**{f"has_{what}": lambda rows=rows: rows is not None for what, rows in parts.items()})
        for what, rows in parts.items():
            setattr(entry, f"{what}_iter", rows if callable(rows) else lambda rows=rows: iter(rows))
        monkeypatch.setattr(ir_datasets, "load", lambda identifier: entry)
        return load_retrieval_data("ir_datasets:some/test", "auto")

    return load


@pytest.mark.parametrize(
    ("document", "title", "words"),
    [
        (WarcDoc("d", "u", "", b"HTTP/1.1 200 OK", HTML, "text/html"), None, "Whales sing loudly"),
        (GovDoc("d", "u", "HTTP/1.1 200 OK", HTML, "text/html"), None, "Whales sing loudly"),
        (Cord19Doc("d", "Whales", "", "", "They sing."), "Whales", "Whales They sing."),
        (
            Cord19FullTextDoc("d", "Whales", "", "", "They sing.", (Cord19FullTextSection("Songs", "Long ones."),)),
            "Whales",
            "Whales They sing. Songs Long ones.",
        ),
        (
            HighwireDoc("d", "J", "Whales", (HighwireSpan(0, 4, "They"), HighwireSpan(5, 5, "sing."))),
            "Whales",
            "Whales They sing.",
        ),
        (Cord19Doc("d", None, "", "", "They sing."), None, "They sing."),
    ],
)
def test_documents(load, document, title, words):
    data = load(docs=[document])
    assert " ".join(data.corpus["d"].split()) == words
    assert data.titles.get("d") == title


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (TrecQuery("q", "whale songs", "Find songs.", "Any."), "whale songs"),
        (Cast2019Query("q", "What do whales sing?", 1, 1, "t", "d"), "What do whales sing?"),
        (TrecPmQuery("q", "Melanoma", "BRAF", "64-year-old male"), "Melanoma BRAF 64-year-old male"),
        (
            TrecMandarinQuery(*("q" if name == "query_id" else f"{name} text" for name in TrecMandarinQuery._fields)),
            "title_zh text",
        ),
    ],
)
def test_queries(load, query, text):
    assert load(queries=[query]).queries == {"q": text}


def test_records_of_which_nobody_says_what_their_text_is_are_refused(load):
    trial = ClinicalTrialsDoc("d", "Title", "c", "s", "d", "e")
    with pytest.raises(InputError, match=r"does not say which of doc_id, title, condition, .* is the text"):
        load(docs=[trial])


def test_a_download_that_fails_is_one_sentence(load):
    def broken():
        yield DOCUMENT
        raise ConnectionError("Max retries exceeded\n\nwith url /x")

    with pytest.raises(InputError, match=r"docs of 'ir_datasets:some/test' cannot be read: Max retries exceeded$"):
        load(docs=broken)


def test_what_a_data_set_lacks_is_said(load):
    with pytest.raises(InputError, match="has no qrels"):
        load(qrels=None)
    topic = namedtuple("Topic", ["query_id", "text"])
    topic.default_text = lambda self: ""
    with pytest.raises(InputError, match="No query of 'some' has text"):
        load(queries=[topic("q", "")])


def test_fractions_of_a_grade_are_refused(load):
    with pytest.raises(InputError, match=r"0\.5 is not a whole number"):
        load(qrels=[TrecQrel("q", "d", 0.5, "0")])
