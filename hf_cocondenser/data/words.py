"""Which tokens begin a word, for each kind of tokenizer; a kind that is not known is refused.

Words are BERT's everywhere: runs of letters and digits, every run of punctuation apart from them, and in scripts
written without spaces every piece of the tokenizer (or, for Chinese, the words a segmenter found at prepare time).
"""

from __future__ import annotations

import json
import logging
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from hf_cocondenser.data.text import HAN_RANGES, KANA_RANGE
from hf_cocondenser.errors import InputError

WORDPIECE, BYTE_LEVEL, SENTENCEPIECE = "wordpiece", "byte-level BPE", "sentencepiece"

_ANY, _LETTER, _MARK, _UNSPACED, _SPECIAL = range(5)  # how a token begins or ends; _ANY joins with everything
_UNSPACED_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    KANA_RANGE,
    *HAN_RANGES,
)


def tokenizer_family(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return how the tokenizer marks words: `WORDPIECE`, `BYTE_LEVEL` or `SENTENCEPIECE`.

    Raises:
        InputError: it is none of these, or not a fast tokenizer, so that word boundaries would be a guess.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(
            f"'{tokenizer.name_or_path}' ({type(tokenizer).__name__}) has no tokenizer.json: whole-word masking needs a "
            "fast tokenizer."
        )
    kinds = _component_types(backend.pre_tokenizer) | _component_types(backend.decoder)
    model = type(backend.model).__name__
    if model == "WordPiece" and backend.model.continuing_subword_prefix:
        return WORDPIECE
    if model == "BPE" and "ByteLevel" in kinds and not backend.model.end_of_word_suffix:
        return BYTE_LEVEL
    if model in ("Unigram", "BPE") and "Metaspace" in kinds:
        return SENTENCEPIECE
    raise InputError(
        f"The tokenizer of '{tokenizer.name_or_path}' ({model} model, {', '.join(sorted(kinds)) or 'no'} pre-tokenizer "
        "and decoder) is of no known kind: WordPiece, byte-level BPE or SentencePiece is needed for whole-word masking."
    )


def isolates_chinese_characters(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Say whether the tokenizer makes a word of every Chinese character, as BERT's does."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    if normalizer is None:
        return False
    state = json.loads(normalizer.__getstate__())
    parts = state.get("normalizers", [state])
    return any(part["type"] == "BertNormalizer" and part["handle_chinese_chars"] for part in parts)


def _component_types(component: Any) -> set[str]:
    """The types named in a pre-tokenizer or decoder, those inside a sequence included."""
    if component is None:
        return set()
    types: set[str] = set()
    stack = [json.loads(component.__getstate__())]
    while stack:
        part = stack.pop()
        types.add(part["type"])
        stack += part.get("pretokenizers", []) + part.get("decoders", [])
    return types


@dataclass(frozen=True)
class WordRule:
    """Tells word starts from token ids alone, by tables over the vocabulary.

    Attributes:
        family: the kind of tokenizer.
        opens (vocabulary): the token begins a word wherever it stands.
        first, last (vocabulary): the kind of its first and last character; a change of kind between two tokens
            begins a word as well.
    """

    family: str
    opens: npt.NDArray[np.bool_]
    first: npt.NDArray[np.uint8]
    last: npt.NDArray[np.uint8]

    @classmethod
    def from_tokenizer(cls, tokenizer: PreTrainedTokenizerBase) -> WordRule:
        """Read the tables off a tokenizer's vocabulary.

        Raises:
            InputError: its kind is not known.
        """
        family = tokenizer_family(tokenizer)
        vocabulary = tokenizer.get_vocab()
        size = max(vocabulary.values()) + 1
        opens, first, last = np.ones(size, bool), np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        special = set(tokenizer.all_special_ids)
        if family == WORDPIECE:
            prefix = tokenizer.backend_tokenizer.model.continuing_subword_prefix
        for token, index in vocabulary.items():
            if index in special:
                first[index] = last[index] = _SPECIAL
            elif family == WORDPIECE:
                opens[index] = not token.startswith(prefix)
            elif family == BYTE_LEVEL:
                opens[index], first[index], last[index] = _byte_level_kinds(token)
            else:
                opens[index], first[index], last[index] = _sentencepiece_kinds(token)
        return cls(family, opens, first, last)

    def starts(self, ids: npt.NDArray[np.integer], text_starts: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Return for each token of the flat `ids` whether it begins a word; `text_starts` are where texts begin."""
        starts = self.opens[ids]
        if self.family != WORDPIECE:
            first, last = self.first[ids[1:]], self.last[ids[:-1]]
            starts[1:] |= (first != last) & (first != _ANY) & (last != _ANY)
        starts[text_starts] = True
        return starts


def _kind(character: str) -> int:
    code = ord(character)
    if any(low <= code <= high for low, high in _UNSPACED_RANGES):
        return _UNSPACED
    return _MARK if unicodedata.category(character)[0] in "PS" else _LETTER


def _sentencepiece_kinds(token: str) -> tuple[bool, int, int]:
    text = token.lstrip("▁")
    if not text:
        return True, _ANY, _ANY
    first = _kind(text[0])
    return token[0] == "▁" or first == _UNSPACED, first, _kind(text[-1])


def _byte_level_kinds(token: str) -> tuple[bool, int, int]:
    try:
        data = bytes(_BYTE_OF[character] for character in token)
    except KeyError:  # an added token, kept as it is written
        data = token.encode("utf-8")
    body = data.lstrip(b" \t\r\n")
    spaced = len(body) < len(data)
    if not body:
        return True, _ANY, _ANY
    # A token may hold a part of a character only: what its bytes begin with decides, a bare continuation joins.
    continues = 0x80 <= body[0] < 0xC0
    text = body.decode("utf-8", "replace")
    first = _ANY if continues else _partial_kind(text[0], body[0])
    lead = next((byte for byte in reversed(body) if not 0x80 <= byte < 0xC0), 0)
    return spaced or first == _UNSPACED, first, _partial_kind(text[-1], lead)


def _partial_kind(character: str, lead: int) -> int:
    if character != "\ufffd":
        return _kind(character)
    return _UNSPACED if 0xE3 <= lead <= 0xE9 else _LETTER  # the bytes Han and kana begin with


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in of every byte, reversed."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()


def load_segmenter() -> Callable[[str], list[str]]:
    """Return a function that cuts Chinese text into words.

    Raises:
        InputError: jieba is not installed.
    """
    try:
        import jieba
    except ImportError:
        raise InputError("Chinese words need jieba: pip install 'hf-cocondenser[zh]'.") from None
    jieba.setLogLevel(logging.WARNING)
    segmenter = jieba.Tokenizer()
    segmenter.initialize()
    return segmenter.lcut
