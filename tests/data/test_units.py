"""Tokens found by looking units up are the tokenizer's own."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from tokenizers import Tokenizer

from hf_cocondenser.data import units as units_module
from hf_cocondenser.data.units import UnitTokenizer

TEXTS = [
    "hello worlds, retriever! Don't   panic\n\tplease",
    "",
    "   ",
    "Caf\u00e9 na\u00efve \u2014 \u00ab hello \u00bb \u20ac5 x\u00b2 \u0130stanbul \u00df \ufb01",
    "(hello,world)[1]{2}#3 a_b c-d e/f C++ 3.14 1,000 user@example.org",
    "tab\x07bell zero\u200bwidth soft\u00adhyphen combining e\u0301",
    "no\u00a0break hello\u2003wide \x1c\x85control hello\u3000there",
    "hello [SEP] [MASK] <s> </s> <mask> world",
    "\U0001f600 smile \ud55c\uad6d\uc5b4 \u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
]
CHINESE = ["中国人民hello。人民，hello！ 国 人", "他说：“hello！”人", "ありがとう。中国です"]


def backend(tokenizer) -> Tokenizer:
    return Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())


def whole(tokenizer, text: str) -> list[int]:
    plain = backend(tokenizer)
    plain.encode_special_tokens = True
    words = text.encode().split()  # bytes know no white space but ASCII's
    return plain.encode(" " + b" ".join(words).decode(), add_special_tokens=False).ids if words else []


def by_units(tokenizer, texts: list[str], cutter: str) -> list[list[int]]:
    found = UnitTokenizer(backend(tokenizer), cutter)(texts)
    bounds = [0, *found.text_ends.tolist()]
    return [found.tokens[a:b].tolist() for a, b in pairwise(bounds)]


@pytest.mark.parametrize(
    ("name", "cutter"),
    [
        ("bert", "characters"),
        ("wordpiece", "characters"),
        ("roberta", "spaced"),
        ("xlm_roberta", "spaced"),
        ("deberta", "spaced"),
    ],
)
def test_tokens_are_those_of_the_whole_text(name, cutter, request):
    tokenizer = request.getfixturevalue(name)
    texts = TEXTS + CHINESE
    assert by_units(tokenizer, texts, cutter) == [whole(tokenizer, text) for text in texts]


def test_special_tokens_in_a_text_are_text(bert, wordpiece):
    for tokenizer in (bert, wordpiece):
        (ids,) = by_units(tokenizer, ["hello [MASK] [SEP]"], "characters")
        assert not {tokenizer.mask_token_id, tokenizer.sep_token_id} & set(ids)


def test_sentence_ends(wordpiece):
    texts = ["Time is money. Work is a thing. The end", "No sentence here", "One. Two."]
    found = UnitTokenizer(backend(wordpiece), "characters")(texts)
    sentences = [wordpiece.decode(part) for part in np.split(found.tokens, found.sentence_ends)[:-1]]
    plain = [sentence.replace(" ", "") for sentence in sentences]
    assert plain == ["timeismoney.", "workisathing.", "theend", "nosentencehere", "one.", "two."]


def test_chinese_words_by_jieba(bert):
    pytest.importorskip("jieba")
    found = UnitTokenizer(backend(bert), "jieba")(["中国人民hellos。"])
    tokens = bert.convert_ids_to_tokens(found.tokens.tolist())
    assert tokens == ["中", "国", "人", "民", "hello", "##s", "。"]
    assert found.word_starts.tolist() == [True, False, True, False, True, False, True]


def test_tables_are_dropped_when_they_grow_too_large(bert, monkeypatch):
    monkeypatch.setattr(units_module, "_LIMIT", 3)
    tokenizer = UnitTokenizer(backend(bert), "characters")
    for _ in range(3):
        first, second = tokenizer(["hello worlds !"]), tokenizer(["a b c d e hello"])
        assert bert.convert_ids_to_tokens(first.tokens.tolist()) == ["hello", "wor", "##ld", "##s", "!"]
        assert second.tokens[-1] == bert.convert_tokens_to_ids("hello")
