"""From a raw docstring to its summary sentence and the plain paragraphs after it.

Markup (reStructuredText, Google and NumPy sections, Markdown) becomes plain words; examples in code are left out:
the queries are sentences, and a model of a few million weights has better things to learn than doctest output.
"""

from __future__ import annotations

import re

from hf_cocondenser.data.text import HAN_OR_KANA, first_sentence

SUMMARY_WORDS = (4, 30)
BODY_WORDS = 20

_FENCE = re.compile(r"^\s*(```|~~~)")
_RULE = re.compile(r"^\s*([-=~^*#\"'`+.:_|])\1{2,}\s*$")
_DIRECTIVE = re.compile(r"^\s*\.\. +[\w:-]+:: *|^\s*\.\. \[.*?\] *|^\s*\.\. ")
_FIELD = re.compile(r"^\s*:(\w+)(?: +([^:\n]*))?: *")
_ROLE = re.compile(r":[\w:+.-]+:`[~!]?(?:([^`<]*?) *<[^`>]*>|([^`]*))`")
_LINK = re.compile(r"!?\[`?~?([^\]`]*)`?\]\([^)]*\)|`([^`<]*?) *<[^`>]*>`_{0,2}")
_CODE = re.compile(r"\[?`{1,2}~?([^`]*)`{1,2}_{0,2}\]?")
_TAG = re.compile(r"</?\w+[^<>]{0,80}>|\{\{?[\w. ]*\}?\}|%\(\w+\)s|&\w+;|https?://\S+")
_SIGNATURE = re.compile(r"^[\w.]+ ?\(.*\)\s*(->.*|:)?$", re.DOTALL)
_WORD = re.compile(HAN_OR_KANA + r"|[^\W\d_]{2,}")


def split_docstring(text: str) -> tuple[str, list[str]] | None:
    """Return (summary sentence, paragraphs after it), or None when either is too short to mean anything.

    Args:
        text: a docstring without its indentation, as `ast.get_docstring` gives it.
    """
    paragraphs = plain_paragraphs(text)
    if paragraphs and _SIGNATURE.match(paragraphs[0]):
        paragraphs = paragraphs[1:]
    if not paragraphs:
        return None
    summary, rest = first_sentence(paragraphs[0])
    body = ([rest] if rest else []) + paragraphs[1:]
    if (
        not SUMMARY_WORDS[0] <= count_words(summary) <= SUMMARY_WORDS[1] or ":" in summary
    ):  # "x (int): ..." is no query
        return None
    if sum(map(count_words, body)) < BODY_WORDS:
        return None
    return summary, body


def plain_paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a docstring as plain text, one line each, code examples left out."""
    paragraphs: list[list[str]] = [[]]
    fenced = example = False
    for line in text.splitlines():
        if _FENCE.match(line):
            fenced = not fenced
            continue
        stripped = line.strip()
        example = (example or stripped.startswith((">>>", "In [", "$ "))) and bool(stripped)
        if fenced or example:
            continue
        if not stripped:
            paragraphs.append([])
        elif not _RULE.match(stripped):
            paragraphs[-1].append(plain_line(line))
    joined = (" ".join(" ".join(lines).split()) for lines in paragraphs)
    return [paragraph for paragraph in joined if count_words(paragraph) > 1]


def plain_line(line: str) -> str:
    """Return one line without the signs of reStructuredText and Markdown."""
    line = _DIRECTIVE.sub("", line)
    line = _FIELD.sub(lambda match: f"{match[2] or match[1]}: ", line)
    line = _ROLE.sub(lambda match: match[1] or match[2] or "", line)
    line = _LINK.sub(lambda match: match[1] or match[2] or "", line)
    line = _CODE.sub(r"\1", line)
    return _TAG.sub(" ", line).replace("**", "").replace("\\", " ")


def count_words(text: str) -> int:
    """Return the number of alphabetic words of two letters or more; a Chinese or Japanese character is a word."""
    return len(_WORD.findall(text))
