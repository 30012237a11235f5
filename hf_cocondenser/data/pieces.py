"""BERT's words inside units: runs of letters and digits, and single marks, each tokenised once.

A corpus has several times fewer of these than of the units they make up ("word", "word," and "Word" are one), and the
WordPiece model takes them as they are, which costs a fraction of a call of the whole tokenizer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import chain

import numpy as np
from tokenizers import Tokenizer

from hf_cocondenser.data.tables import Counts, Tokens, TokenTable, take_from_either

_ASCII = re.compile(r"[A-Za-z0-9]+|[^A-Za-z0-9]").findall
_BREAK = "\n"  # between units; none has white space inside


def flatten(encoded: Sequence[Sequence[int]]) -> tuple[Tokens, Counts]:
    """Return the tokens of all end to end, and how many each has."""
    counts = np.fromiter(map(len, encoded), np.int64, len(encoded))
    return np.fromiter(chain.from_iterable(encoded), np.int32, int(counts.sum())), counts


class BertPieces:
    """Tokenises units without white space for tokenizers that normalise and split as BERT's do."""

    def __init__(self, tokenizer: Tokenizer, lowercase: bool) -> None:
        self._model = tokenizer.model
        self._normalizer = tokenizer.normalizer
        self._splitter = tokenizer.pre_tokenizer
        self._lowercase = lowercase
        self._table = TokenTable(lambda pieces: flatten([self._tokens(piece) for piece in pieces]))

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> BertPieces | None:
        """Return the pieces of a tokenizer, or None where it does not work as BERT's."""
        normalizer = tokenizer.normalizer and json.loads(tokenizer.normalizer.__getstate__())
        splitter = tokenizer.pre_tokenizer and json.loads(tokenizer.pre_tokenizer.__getstate__())
        if not normalizer or normalizer["type"] != "BertNormalizer" or not normalizer["clean_text"]:
            return None
        if not splitter or splitter["type"] != "BertPreTokenizer":
            return None
        if not all(token.special for token in tokenizer.get_added_tokens_decoder().values()):
            return None  # a word added by hand is cut out before anything else
        return cls(tokenizer, normalizer["lowercase"])

    def __call__(self, units: list[str]) -> tuple[Tokens, Counts]:
        """Return the tokens of all units end to end, and how many each has."""
        plain = np.fromiter((unit.isascii() and unit.isprintable() for unit in units), bool, len(units))
        text = _BREAK.join([unit for unit, is_plain in zip(units, plain, strict=True) if is_plain])
        pieces = _ASCII(text.lower() if self._lowercase else text)
        others = [unit for unit, is_plain in zip(units, plain, strict=True) if not is_plain]
        for unit in others:  # what is not ASCII, piece by piece
            pieces.append(_BREAK)
            pieces += self._split(unit)
        if not plain.any():
            del pieces[0]
        pieces.append(_BREAK)
        numbers, _ = self._table.find(pieces)
        tokens, counts = self._table.gather(numbers)
        breaks = numbers == numbers[-1]  # a break has no tokens
        ends = np.cumsum(counts)[breaks]
        counts = np.diff(ends, prepend=0)
        middle = int(plain.sum())
        start = int(counts[:middle].sum())
        return take_from_either(plain, (tokens[:start], counts[:middle]), (tokens[start:], counts[middle:]))

    def _split(self, unit: str) -> list[str]:
        return [piece for piece, _ in self._splitter.pre_tokenize_str(self._normalizer.normalize_str(unit))]

    def _tokens(self, piece: str) -> list[int]:
        return [] if piece == _BREAK else [token.id for token in self._model.tokenize(piece)]
