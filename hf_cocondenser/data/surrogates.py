"""Halves of characters, which JSON can name alone and no tokenizer takes."""

from __future__ import annotations

import re

_HALVES = re.compile("[\ud800-\udfff]")


def without_lone_surrogates(text: str) -> str:
    r"""`text` with the sign for an unknown character in place of half characters, such as JSON's "\ud83d" alone."""
    try:
        text.encode()  # several times as fast as looking for them
    except UnicodeEncodeError:
        return _HALVES.sub("\ufffd", text)
    return text
