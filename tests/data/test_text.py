"""Where sentences end, in English, Chinese and Japanese."""

from __future__ import annotations

import pytest

from hf_cocondenser.data.text import (
    GLUED,
    HARD_END,
    SOFT_END,
    character_units,
    may_begin_sentence,
    segmented_units,
    sentence_end,
    spaced_units,
)


def split(text: str, units=spaced_units) -> list[str]:
    """The sentences of a text, put together as the tokenizer of units does it."""
    found, current = [], ""
    cut = units(text)
    for unit, following in zip(cut, [*cut[1:], None], strict=True):
        glued = units is not spaced_units or unit.startswith(GLUED)
        current += unit.lstrip(GLUED) if glued or not current else " " + unit
        end = sentence_end(unit)
        if following is None or end == HARD_END or (end == SOFT_END and may_begin_sentence(following)):
            found.append(current)
            current = ""
    return found


@pytest.mark.parametrize(
    "sentences",
    [
        ["It works.", "It really does!", "Does it?", "Yes."],
        ["Dr. Smith met Mr. Jones at 5 p.m. on Monday.", "They talked."],
        ["See Fig. 3 and Eq. 2, i.e. the loss.", "We use e.g. BERT, cf. Devlin et al. for more."],
        ["J. K. Rowling lives in the U.K. and writes.", "She is known."],
        ['He said "Stop!"', '"Why?"', "Nobody knew."],
        ["The value is 3.14 in v1.2.3 of numpy.linalg now.", "Next."],
        ["Wait... what happened?", "Nothing."],
        ["It ended (at last).", "(So they say.)", "Then:"],
        ["[1] The end.", "2012 was a year."],
    ],
)
def test_english(sentences):
    assert split(" ".join(sentences)) == sentences


def test_lower_case_does_not_begin_a_sentence():
    assert split("The file setup.py. was read by pip. It ran.") == ["The file setup.py. was read by pip.", "It ran."]


@pytest.mark.parametrize("units", [spaced_units, character_units])
def test_chinese_and_japanese(units):
    chinese = ["他说：“你好！”", "然后走了。", "为什么？", "没人知道……"]
    assert split("".join(chinese), units) == chinese
    japanese = ["これは本です。", "あれは「ペン。」", "そうですか？", "はい。"]
    assert split("".join(japanese), units) == japanese


def test_mixed_scripts_keep_spaces_and_glue():
    assert spaced_units("BERT 很好。它 is good") == ["BERT", "很好。", GLUED + "它", "is", "good"]


def test_character_units_are_what_bert_isolates():
    assert character_units("GPT是2018年的模型。") == ["GPT", "是", "2018", "年", "的", "模", "型", "。"]
    assert character_units("plain  text\nonly") == ["plain", "text", "only"]


def test_segmented_units():
    assert segmented_units("我爱BERT模型。", lambda run: [run[:1], run[1:]] if len(run) > 1 else [run]) == [
        "我",
        "爱",
        "BERT",
        "模",
        "型",
        "。",
    ]
