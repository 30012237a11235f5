"""Words of texts in any script, for BM25 and for counting."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import regex

CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and Han
_NO_BLANKS = rf"{CJK}\p{{Line_Break=Complex_Context}}"  # and Thai, Lao, Khmer, Burmese: scripts without blanks
_RUNS = regex.compile(rf"(?:[{_NO_BLANKS}]\p{{M}}*)+|[[\w\p{{M}}\p{{N}}]--[{_NO_BLANKS}]]+", regex.V1)
_ASCII = re.compile(r"\w+", re.ASCII)  # much faster
_WITHOUT_BLANKS = regex.compile(f"[{_NO_BLANKS}]")
# Marks that are written or left out at will, and signs that only say how to join or to direct letters.
_NOT_READ = regex.compile(
    r"[[\p{Cf}--\u200b]\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed"
    r"\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]|(?<=i)\u0307",  # the latter is left of a lower-cased Turkish İ
    regex.V1,
)


def words(text: str, shortest: int = 1) -> list[str]:
    """The words of a text.

    A word keeps its vowel signs and accents. Composed and decomposed accents are one; the points of Arabic and Hebrew
    and soft hyphens are left out. Where a script has no blanks between words (Chinese, Japanese, Thai ...), the words
    are overlapping pairs of characters.

    Args:
        text: any text; its case is kept.
        shortest: letters and signs of a word at least; a single character of a script without blanks is kept.

    Example:
        >>> words("Der Käse, 東京タワー")
        ['Der', 'Käse', '東京', '京タ', 'タワ', 'ワー']
    """
    found: list[str] = []
    for run in _runs(text):
        if not _WITHOUT_BLANKS.match(run):
            if len(run) >= shortest:
                found.append(run)
            continue
        characters = regex.findall(r"\X", run)
        found.extend(map("".join, pairwise(characters)) if characters[1:] else characters)
    return found


def count_words(text: str) -> int:
    """How many words a text has; a character of a script without blanks counts as one.

    Example:
        >>> count_words("Der Käse, 東京")
        4
    """
    return sum(len(regex.findall(r"\X", run)) if _WITHOUT_BLANKS.match(run) else 1 for run in _runs(text))


def _runs(text: str) -> list[str]:
    """Words, and whole runs of characters of the scripts without blanks."""
    if text.isascii():
        return _ASCII.findall(text)
    return _RUNS.findall(_NOT_READ.sub("", unicodedata.normalize("NFC", text)))


def same_text(text: str) -> str:
    """What makes two texts equal: their words, whatever the case and the white space."""
    return " ".join(text.casefold().split())
