"""Tokenising by looking units up: every unit is tokenised once, then a text is a walk over a table.

Tokenizers of the known kinds treat the stretches between white space on their own, so the tokens of a text are its
units' tokens in a row (only a SentencePiece token that would cross the end of a Chinese sentence is not made). That is
several times faster than tokenising the text, because words repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer

from hf_cocondenser.data.chinese import load_segmenter
from hf_cocondenser.data.pieces import BertPieces, flatten
from hf_cocondenser.data.tables import Counts, Tokens, TokenTable, take_from_either
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

_STOP = "。"
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
