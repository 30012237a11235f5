"""Documents cut into spans."""

from __future__ import annotations

from itertools import pairwise

import pytest

from hf_cocondenser.data.cutting import SpanOptions, document_texts, pack_sentences, span_targets
from hf_cocondenser.data.hashing import derive_key
from hf_cocondenser.data.store import SpanStore
from hf_cocondenser.errors import InputError


@pytest.mark.parametrize(
    ("ends", "targets", "expected"),
    [
        ([10, 20, 30, 40], [20] * 9, [20, 40]),
        ([10, 25, 30, 45], [20] * 9, [10, 30, 45]),
        ([50], [20] * 9, [20, 40, 50]),
        ([5, 50, 55], [20] * 9, [5, 25, 45, 55]),
        ([5, 10, 15, 20, 25], [20, 5, 20], [20, 25]),
        ([5, 10, 15, 20, 25], [5, 20], [5, 25]),
        ([20], [20], [20]),
        ([], [20], []),
    ],
)
def test_pack_sentences(ends, targets, expected):
    assert pack_sentences(ends, targets) == expected


def test_a_share_of_short_targets():
    options = SpanOptions(target_tokens=80, short_share=0.1, min_tokens=8)
    targets = [t for n in range(200) for t in span_targets(derive_key(n)[0], 50, options)]
    short = [t for t in targets if t < 80]
    assert 0.08 < len(short) / len(targets) < 0.12
    assert min(short) == 8 and max(short) == 79
    assert span_targets(derive_key(0)[0], 3, SpanOptions(short_share=0.0)) == [80, 80, 80]


def test_texts_of_a_document():
    options, without = SpanOptions(), SpanOptions(title="ignore")
    assert document_texts("T", ["a", "", None, " \n", "b"], options) == ["T a", "b"]
    assert document_texts("T", ["a", "b"], without) == ["a", "b"]
    assert document_texts("T", [], options) == ["T"]
    assert (
        document_texts("", None, options) == document_texts(" ", [], options) == document_texts("T", [], without) == []
    )


def spans(folder, tokenizer) -> list[list[str]]:
    store = SpanStore(folder)
    found = []
    for document in range(len(store)):
        bounds = [0, *store.span_ends(document).tolist()]
        found.append([tokenizer.decode(store.tokens(document, a, b)) for a, b in pairwise(bounds)])
    return found


def test_passages_are_spans(prepare_texts, wordpiece):
    folder, manifest = prepare_texts([["Time is money. Work is life.", "book"], ["house"]], unit="passages")
    assert spans(folder, wordpiece) == [["time is money. work is life.", "book"], ["house"]]
    assert manifest["counts"]["one_span_documents"] == 1 and manifest["counts"]["spans"] == 3


def test_sentences_are_packed(prepare_texts, wordpiece):
    passages = ["Time is money. Work is life.", "The book of the house. The end."]
    folder, _ = prepare_texts([passages], target_tokens=20, short_share=0.0)
    (found,) = spans(folder, wordpiece)
    assert "".join(found).replace(" ", "") == "timeismoney.workislife.thebookofthehouse.theend."
    assert all(part.endswith(".") for part in found)
    assert all(len(wordpiece.tokenize(part)) <= 20 for part in found) and len(found) > 1


def test_a_short_document_of_several_sentences_has_two_spans(prepare_texts, wordpiece):
    folder, manifest = prepare_texts([["Time is money here now. End."], ["Just one sentence"]], short_share=0.0)
    assert spans(folder, wordpiece)[0] == ["time is money here now.", "end."]
    assert manifest["counts"]["one_span_documents"] == 1


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"unit": "words"}, "unit is 'words'; choose one of sentences, passages"),
        ({"title": "every"}, "title is 'every'"),
        ({"segmenter": "mecab"}, "segmenter is 'mecab'"),
        ({"min_tokens": 0}, "min_tokens is 0"),
        ({"min_tokens": 90}, "min_tokens is 90; it cannot be above target_tokens"),
        ({"short_share": 1.5}, "short_share is 1.5"),
        ({"evaluation": -1}, "evaluation is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**64}, "at least 0 and below 4,294,967,296"),
        ({"evaluation": 2.5}, "evaluation is 2.5"),
    ],
)
def test_options_that_are_refused(options, match):
    with pytest.raises(InputError, match=match):
        SpanOptions(**options)
