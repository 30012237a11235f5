"""Word boundaries of each tokenizer family, against groups written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hf_cocondenser.data.words import BYTE_LEVEL, SENTENCEPIECE, WORDPIECE, WordRule, tokenizer_family
from hf_cocondenser.errors import InputError


def groups(tokenizer, tokens: list[str]) -> list[list[str]]:
    ids = np.array(tokenizer.convert_tokens_to_ids(tokens))
    assert tokenizer.unk_token_id not in ids
    starts = WordRule.from_tokenizer(tokenizer).starts(ids, np.zeros(1, np.int64))
    words: list[list[str]] = []
    for token, start in zip(tokens, starts, strict=True):
        if start:
            words.append([])
        words[-1].append(token)
    return words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello worlds, retriever!", [["hello"], ["wor", "##ld", "##s"], [","], ["retrieve", "##r"], ["!"]]),
        ("don't", [["don"], ["'"], ["t"]]),
        ("中国人", [["中"], ["国"], ["人"]]),
    ],
)
def test_wordpiece(bert, text, expected):
    assert tokenizer_family(bert) == WORDPIECE
    assert groups(bert, bert.tokenize(text)) == expected


def test_byte_level(roberta):
    assert tokenizer_family(roberta) == BYTE_LEVEL
    assert roberta.tokenize("hi world!") == ["hi", "Ġwor", "ld", "!"]
    assert groups(roberta, roberta.tokenize("hi worlds, hi!")) == [["hi"], ["Ġwor", "ld", "s"], [","], ["Ġhi"], ["!"]]
    assert groups(roberta, roberta.tokenize("don't (hi)")) == [
        ["d", "o", "n"],
        ["'"],
        ["t"],
        ["Ġ", "("],
        ["hi"],
        [")"],
    ]


def test_byte_level_parts_of_characters(roberta):
    assert roberta.tokenize("é中国") == ["Ã", "©", "ä¸Ń", "å", "Ľ", "½"]
    # An accented letter joins its word; every Chinese character is one, though its bytes are several tokens.
    assert groups(roberta, roberta.tokenize("cé中国")) == [["c", "Ã", "©"], ["ä¸Ń"], ["å", "Ľ", "½"]]


@pytest.mark.parametrize("name", ["xlm_roberta", "deberta"])
def test_sentencepiece(name, request):
    tokenizer = request.getfixturevalue(name)
    assert tokenizer_family(tokenizer) == SENTENCEPIECE
    assert groups(tokenizer, tokenizer.tokenize("hello worlds, retriever!")) == [
        ["▁hello"],
        ["▁wor", "ld", "s"],
        [","],
        ["▁retrieve", "r"],
        ["!"],
    ]
    assert groups(tokenizer, tokenizer.tokenize("don't")) == [["▁don"], ["'"], ["t"]]
    # No spaces: the pieces are the words, not the whole sentence.
    assert groups(tokenizer, tokenizer.tokenize("中国人民。")) == [["▁"], ["中国"], ["人民"], ["。"]]
    # A space piece of its own belongs to the letters after it.
    assert groups(tokenizer, ["▁", "b", "c"]) == [["▁", "b", "c"]]


def test_special_tokens_are_words_of_their_own(roberta):
    assert groups(roberta, ["h", "<mask>", "l"]) == [["h"], ["<mask>"], ["l"]]


def test_a_text_begins_with_a_word(bert):
    ids = np.array(bert.convert_tokens_to_ids(["##ld", "##s", "##ld", "##s"]))
    starts = WordRule.from_tokenizer(bert).starts(ids, np.array([0, 2]))
    assert starts.tolist() == [True, False, True, False]


def test_an_unknown_family_is_refused(word_level):
    with pytest.raises(InputError, match=r"WordLevel.*no known kind"):
        tokenizer_family(word_level)


def test_a_slow_tokenizer_is_refused():
    from transformers import CanineTokenizer

    with pytest.raises(InputError, match="fast tokenizer"):
        tokenizer_family(CanineTokenizer())
