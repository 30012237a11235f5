"""Words of texts in many scripts."""

from __future__ import annotations

import unicodedata

import pytest

from hf_cocondenser.retrieval.words import count_words, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("किताब मेज पर रखी है", ["किताब", "मेज", "पर", "रखी", "है"]),
        ("பூனை மேசையில் தூங்குகிறது", ["பூனை", "மேசையில்", "தூங்குகிறது"]),
        ("বাংলা ভাষা", ["বাংলা", "ভাষা"]),
        (unicodedata.normalize("NFD", "Käse Å"), ["Käse", "Å"]),
        ("x\u0302y", ["x\u0302y"]),  # no composed form
        ("كِتَابٌ جَدِيدٌ", ["كتاب", "جديد"]),
        ("שָׁלוֹם", ["שלום"]),
        ("می\u200cخواهم", ["میخواهم"]),
        ("co\u00adoperate", ["cooperate"]),
        ("İstanbul".lower(), ["istanbul"]),
        ("ฉันรัก", ["ฉัน", "นรั", "รัก"]),
        ("ក\u200bខ", ["ក", "ខ"]),  # a zero-width space parts words
        ("范廷颂是abc主教2009年", ["范廷", "廷颂", "颂是", "abc", "主教", "2009", "年"]),
        ("東京タワー", ["東京", "京タ", "タワ", "ワー"]),
        (unicodedata.normalize("NFD", "ガギグ"), ["ガギ", "ギグ"]),
        ("km² x_1 don't", ["km²", "x_1", "don", "t"]),
        ("。，", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


def test_short_words_are_left_out_but_not_single_characters_of_scripts_without_blanks():
    assert words("a bc 年", shortest=2) == ["bc", "年"]


def test_words_are_counted_by_characters_where_there_are_no_blanks():
    assert count_words("Der Käse, 東京 किताब") == 5
