"""Tokenising by looking units up: every unit is tokenised once, then a text is a walk over a table.

Tokenizers of the known kinds treat the stretches between white space on their own, so the tokens of a text are its
units' tokens in a row (only a SentencePiece token that would cross the end of a Chinese sentence is not made). That is
several times faster than tokenising the text, because words repeat.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer

from hf_cocondenser.data.text import (
    GLUED,
    HARD_END,
    SOFT_END,
    character_units,
    is_han,
    is_unspaced,
    may_begin_sentence,
    segmented_units,
    sentence_end,
    spaced_units,
)
from hf_cocondenser.data.words import load_segmenter

Tokens = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]
Encode = Callable[[list[str]], tuple[Tokens, Counts]]
_Number = TypeVar("_Number", bound=np.generic)


def take_runs(values: npt.NDArray[_Number], firsts: Counts, counts: Counts) -> npt.NDArray[_Number]:
    """Return stretches of `values` end to end: `counts` elements from each of `firsts` on."""
    shifts = firsts - (np.cumsum(counts) - counts)
    return values[np.arange(counts.sum()) + np.repeat(shifts, counts)]


def take_from_either(
    chosen: npt.NDArray[np.bool_],
    left: tuple[npt.NDArray[_Number], Counts],
    right: tuple[npt.NDArray[_Number], Counts],
) -> tuple[npt.NDArray[_Number], Counts]:
    """Interleave two sets of runs (values end to end, and their counts): the next of `left` wherever `chosen`."""
    counts, firsts = np.empty(len(chosen), np.int64), np.empty(len(chosen), np.int64)
    counts[chosen], counts[~chosen] = left[1], right[1]
    firsts[chosen] = np.cumsum(left[1]) - left[1]
    firsts[~chosen] = len(left[0]) + np.cumsum(right[1]) - right[1]
    return take_runs(np.concatenate([left[0], right[0]]), firsts, counts), counts


class TokenTable:
    """Remembers the tokens of strings.

    Args:
        encode: returns the tokens of several strings end to end, and how many each has.
    """

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._index: defaultdict[str, int] = defaultdict(count().__next__)
        self._pool: Tokens = np.zeros(0, np.int32)
        self._counts: Counts = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._index)

    def find(self, strings: Sequence[str]) -> tuple[Counts, list[str]]:
        """Return the number of each string in the table, and the strings that were new to it."""
        known = len(self._index)
        numbers = np.fromiter(map(self._index.__getitem__, strings), np.int64, len(strings))
        new = list(islice(reversed(self._index), len(self._index) - known))[::-1]
        if new:
            tokens, counts = self._encode(new)
            self._pool = np.concatenate([self._pool, tokens])
            self._counts = np.concatenate([self._counts, counts])
        return numbers, new

    def gather(self, numbers: Counts) -> tuple[Tokens, Counts]:
        """Return the tokens of strings end to end, and how many each has."""
        counts = self._counts[numbers]
        return take_runs(self._pool, (np.cumsum(self._counts) - self._counts)[numbers], counts), counts


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


_STOP = "。"
_SPACE = "\ufdd0"  # for a space that no unit ends at; Unicode promises that no text has this character
_LIMIT = 1_000_000  # units held; real text repeats its words, a corpus of noise must not fill the memory


@dataclass(frozen=True)
class TokenisedTexts:
    """Tokens of texts laid end to end.

    Attributes:
        tokens: the token ids, flat.
        word_starts: for each token whether it begins a word as the segmenter sees it (None without a segmenter).
        text_ends (texts): where each text ends in `tokens`.
        sentence_ends: where sentences end in `tokens`; every text's end is one.
    """

    tokens: npt.NDArray[np.int32]
    word_starts: npt.NDArray[np.bool_] | None
    text_ends: npt.NDArray[np.int64]
    sentence_ends: npt.NDArray[np.int64]


def _cut_function(cutter: str) -> Callable[[str], list[str]]:
    if cutter == "jieba":
        return partial(segmented_units, segment=load_segmenter())
    return {"spaced": spaced_units, "characters": character_units}[cutter]


def _split_spaced(texts: list[str]) -> tuple[pa.StringArray, Counts]:
    """Cut texts at ASCII white space; returns the units of all, and how many each text has."""
    lists = pc.ascii_split_whitespace(pc.ascii_trim_whitespace(pa.array(texts, pa.string())))
    return lists.values, np.diff(lists.offsets.to_numpy()).astype(np.int64)


def _word_openers(tokenizer: Tokenizer, continuation: str) -> npt.NDArray[np.bool_]:
    """For each token whether it begins a word, as its spelling tells."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    opens = np.ones(max(vocabulary.values()) + 1, bool)
    opens[[index for token, index in vocabulary.items() if token.startswith(continuation)]] = False
    return opens


class UnitTokenizer:
    """Tokenises texts, ASCII white space of any kind counting as one space before every unit.

    Args:
        tokenizer: the backend tokenizer.
        cutter: how texts become units, `spaced`, at white space; `characters`, around every Han character as well
            (only for tokenizers that do so themselves); `jieba`, between the words that jieba finds instead.
        continuation: with `jieba`, the prefix of tokens that go on with a word.
    """

    def __init__(self, tokenizer: Tokenizer, cutter: str, continuation: str = "##") -> None:
        self._tokenizer = tokenizer
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # "[SEP]" in a document is text
        self._prefixes = self._tokenizer.encode(_STOP, add_special_tokens=False).tokens[:1] in (["▁"], ["▁" + _STOP])
        added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        phrases = [re.escape(content) for content in added if " " in content.strip()]
        self._phrases = re.compile("|".join(phrases), re.IGNORECASE) if phrases else None
        self._cut = _cut_function(cutter)
        self._opens = _word_openers(tokenizer, continuation) if cutter == "jieba" else None
        self._forget()

    def _forget(self) -> None:
        self._table = TokenTable(BertPieces.of(self._tokenizer) or self._encode)
        self._ends = np.zeros(0, np.uint8)  # (units): whether a sentence ends there
        self._begins = np.zeros(0, bool)  # (units): whether one may begin there
        self._chinese = np.zeros(0, bool)  # (units): whether it is a Chinese word

    def __call__(self, texts: list[str]) -> TokenisedTexts:
        """Tokenise texts; a text may come out empty."""
        if len(self._table) > _LIMIT:
            self._forget()
        if self._phrases:  # added tokens with a space in them stay one unit
            texts = [self._phrases.sub(lambda match: match[0].replace(" ", _SPACE), text) for text in texts]
        # Texts with Chinese or Japanese in them are cut one by one, the others all together by Arrow.
        spaced = np.array([self._opens is None and not is_unspaced(text) for text in texts], bool)
        together = self._find(
            *_split_spaced([text for text, is_spaced in zip(texts, spaced, strict=True) if is_spaced])
        )
        single = [self._cut(text) for text, is_spaced in zip(texts, spaced, strict=True) if not is_spaced]
        alone = self._find(list(chain.from_iterable(single)), np.fromiter(map(len, single), np.int64, len(single)))
        return self._assemble(*take_from_either(spaced, together, alone))

    def _find(self, units: pa.StringArray | list[str], counts: Counts) -> tuple[Counts, Counts]:
        """Return the units' numbers in the table; new ones are tokenised and looked at."""
        encoded = pa.array(units, pa.string()).dictionary_encode()
        numbers, new = self._table.find(encoded.dictionary.to_pylist())
        self._ends = np.concatenate([self._ends, np.fromiter(map(sentence_end, new), np.uint8, len(new))])
        self._begins = np.concatenate([self._begins, np.fromiter(map(may_begin_sentence, new), bool, len(new))])
        if self._opens is not None:
            self._chinese = np.concatenate([self._chinese, np.fromiter(map(is_han, new), bool, len(new))])
        return numbers[encoded.indices.to_numpy()], counts

    def _encode(self, units: list[str]) -> tuple[Tokens, Counts]:
        if self._phrases:
            units = [unit.replace(_SPACE, " ") for unit in units]
        glued = np.fromiter((unit[:1] == GLUED for unit in units), bool, len(units))
        inputs = [" " + unit if unit else "" for unit, is_glued in zip(units, glued, strict=True) if not is_glued]
        spaced = [e.ids for e in self._tokenizer.encode_batch_fast(inputs, add_special_tokens=False)]
        rest = [unit[1:] for unit, is_glued in zip(units, glued, strict=True) if is_glued]
        return take_from_either(glued, flatten(self._encode_glued(rest)), flatten(spaced))

    def _encode_glued(self, texts: list[str]) -> list[list[int]]:
        """The tokens of texts that go on after a full stop without a space."""
        if not self._prefixes:
            return [e.ids for e in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        # SentencePiece would put a space in front; so the full stop goes in front and its tokens are taken off.
        encodings = self._tokenizer.encode_batch([_STOP + text for text in texts], add_special_tokens=False)
        return [[i for i, (_, end) in zip(e.ids, e.offsets, strict=True) if end > len(_STOP)] for e in encodings]

    def _assemble(self, numbers: Counts, text_counts: Counts) -> TokenisedTexts:
        text_units = np.cumsum(text_counts)
        tokens, counts = self._table.gather(numbers)
        unit_ends = np.cumsum(counts)
        bounds = np.concatenate([[0], unit_ends])
        ends = self._ends[numbers]
        begins_next = np.append(self._begins[numbers[1:]], True)[: len(numbers)]
        sentence = (ends == HARD_END) | ((ends == SOFT_END) & begins_next)
        sentence[text_units[text_units > 0] - 1] = True
        return TokenisedTexts(
            tokens=tokens,
            word_starts=None if self._opens is None else self._word_starts(tokens, numbers, counts),
            text_ends=bounds[text_units],
            sentence_ends=np.unique(unit_ends[sentence]),
        )

    def _word_starts(self, tokens: Tokens, numbers: Counts, counts: Counts) -> npt.NDArray[np.bool_]:
        """A Chinese word begins with its unit; elsewhere a token tells by itself."""
        assert self._opens is not None
        first = np.zeros(len(tokens), bool)
        first[(np.cumsum(counts) - counts)[counts > 0]] = True
        return np.where(np.repeat(self._chinese[numbers], counts), first, self._opens[tokens])
