"""Texts as units (words, and pieces of unspaced scripts), and which units end a sentence.

A unit is what a tokenizer treats on its own, so a unit met before need not be tokenised again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

GLUED = "\x00"  # marks a unit that no white space stands before

HAN_RANGES = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))
KANA_RANGE = (0x3040, 0x30FF)

_WORDS = re.compile(r"\S+", re.ASCII).findall
_HAN = "".join(f"{chr(low)}-{chr(high)}" for low, high in HAN_RANGES)
HAN_OR_KANA = f"[{_HAN}\u3040-\u30ff]"
"""A Chinese or Japanese character, as a pattern."""
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


def first_sentence(text: str) -> tuple[str, str]:
    """Cut a text after its first sentence; returns it and the rest, white space made single spaces.

    Example:
        >>> first_sentence("Smith et al. call it so. Others do not.")
        ('Smith et al. call it so.', 'Others do not.')
    """
    units, cased = spaced_units(text), text != text.lower()
    for number, unit in enumerate(units, start=1):
        end = sentence_end(unit)
        following = units[number] if number < len(units) else "A"
        if end == HARD_END or (end == SOFT_END and (not cased or may_begin_sentence(following))):
            return _joined(units[:number]), _joined(units[number:])
    return _joined(units), ""


def _joined(units: Sequence[str]) -> str:
    return " ".join(units).replace(f" {GLUED}", "").lstrip(GLUED)


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
