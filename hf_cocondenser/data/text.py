"""Texts as units (words, and pieces of unspaced scripts), and which units end a sentence.

A unit is what a tokenizer treats on its own, so a unit met before need not be tokenised again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

GLUED = "\x00"  # marks a unit that no white space stands before

_WORDS = re.compile(r"\S+", re.ASCII).findall
_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_STOPS, _CLOSERS = "。！？｡…", "”’」』）】〉》\"')"
_UNSPACED = re.compile(f"[{_HAN}。！？｡\u3040-\u30ff]")  # an ellipsis alone proves nothing
_SENTENCES = re.compile(f"[^{_STOPS}]+[{_STOPS}]*[{_CLOSERS}]*|[{_STOPS}]+[{_CLOSERS}]*")
_CHARACTERS = re.compile(f"[{_HAN}]|[{_STOPS}]+[{_CLOSERS}]*|[^\\s{_HAN}{_STOPS}]+")
_RUNS = re.compile(f"[{_HAN}]+|[{_STOPS}]+[{_CLOSERS}]*|[^\\s{_HAN}{_STOPS}]+")
_HAN_RUN = re.compile(f"[{_HAN}]")

_HARD_END = re.compile(f"[{_STOPS}][{_CLOSERS}]*$")
_SOFT_END = re.compile(r"[.!?]+[\"'”’)\]»*_]*$")
_OPENERS = "\"'“‘([«*_"
_INITIAL = re.compile(r"[\"'“‘(\[]*(?:[^\W\d_]\.)+$")  # J. or U.S.
_ABBREVIATIONS = """
mr mrs ms dr prof rev hon gen col capt lt sgt sen rep gov pres st ste mt ft jr sr messrs mme mlle
vs v cf viz ca approx al etc resp incl esp eg ie e.g i.e a.k.a no nos nr vol vols pp p ch chap sec sect fig figs
eq eqs ref refs ed eds trans art dept univ inst assoc co corp inc ltd bros
jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun
u.s u.k u.n d.c ph.d m.d b.a m.a a.m p.m b.c a.d
"""
_ABBREVIATED = frozenset(_ABBREVIATIONS.split())

NO_END, SOFT_END, HARD_END = range(3)


def is_unspaced(text: str) -> bool:
    """Say whether the text has Chinese or Japanese characters or full stops."""
    return not text.isascii() and _UNSPACED.search(text) is not None


def spaced_units(text: str) -> list[str]:
    """Cut at ASCII white space, and after the full stops of scripts that put no space there."""
    words = _WORDS(text)
    if not is_unspaced(text):
        return words
    units = []
    for word in words:
        head, *rest = _SENTENCES.findall(word)
        units.append(head)
        units += [GLUED + piece for piece in rest]
    return units


def character_units(text: str) -> list[str]:
    """Cut at white space and around every Han character, as BERT's own tokenizers do."""
    return _CHARACTERS.findall(text) if is_unspaced(text) else _WORDS(text)


def segmented_units(text: str, segment: Callable[[str], list[str]]) -> list[str]:
    """Cut at white space and between Chinese words; `segment` cuts a run of Han characters."""
    if not is_unspaced(text):
        return _WORDS(text)
    units: list[str] = []
    for run in _RUNS.findall(text):
        units += segment(run) if _HAN_RUN.match(run) else [run]
    return units


def is_han(unit: str) -> bool:
    """Say whether the unit begins with a Han character."""
    return _HAN_RUN.match(unit) is not None


def sentence_end(unit: str) -> int:
    """Return `HARD_END` where a sentence ends after the unit, `SOFT_END` where the next unit decides, else `NO_END`."""
    if not unit or unit[-1].isalnum() or unit[-1] == ",":
        return NO_END
    if _HARD_END.search(unit):
        return HARD_END
    end = _SOFT_END.search(unit)
    if end is None:
        return NO_END
    if end.group()[0] != "." or len(end.group().rstrip("\"'”’)]»*_")) > 1:
        return SOFT_END  # ! or ? or an ellipsis
    word = unit[: end.start()].lstrip(_OPENERS).lower()
    if word in _ABBREVIATED or _INITIAL.fullmatch(unit[: end.start() + 1]):
        return NO_END
    return SOFT_END


def may_begin_sentence(unit: str) -> bool:
    """Say whether a sentence may begin with the unit: a letter that is not lower case, or a digit, comes first."""
    text = unit.lstrip(GLUED).lstrip(_OPENERS)
    return text[:1].isalnum() and not text[0].islower()


def first_sentence(text: str) -> tuple[str, str]:
    """Return the first sentence, on one line, and the rest of the text; a text of one sentence has no rest."""
    units = spaced_units(text)
    at = 0
    for unit, following in pairwise(units):
        piece = unit.removeprefix(GLUED)
        at = text.index(piece, at) + len(piece)
        end = sentence_end(unit)
        # Behind a full stop a small letter goes on with the sentence, unless the text has no capitals at its beginning.
        plain = "." not in piece[-2:] or not may_begin_sentence(units[0])
        if end == HARD_END or (end == SOFT_END and (plain or may_begin_sentence(following))):
            return " ".join(text[:at].split()), text[at:].strip()
    return " ".join(text.split()), ""
