"""Cutting a batch of documents into spans of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets import Features, List, Value

from hf_cocondenser.data.hashing import derive_key, hash_texts, uniform
from hf_cocondenser.data.units import TokenisedTexts, UnitTokenizer
from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.options import NonNegativeFloat, PositiveInt, Seed, Share, check, option


@dataclass(frozen=True)
class SpanOptions:
    """How documents become spans; a span folder's manifest records it.

    Raises:
        InputError: a value is out of its range.
    """

    unit: Literal["sentences", "passages"] = option(
        "sentences", "a span is some packed sentences or a whole one of the document's passages"
    )
    target_tokens: PositiveInt = option(80, "usual (and greatest) length of a span; see also --short-share")
    short_share: Share = option(
        0.5,
        "share of spans with a shorter length, uniform from min to target tokens (Condenser's authors advise 0.1 for long"
        " documents; short ones give more pairs with more short spans)",
    )
    min_tokens: PositiveInt = option(8, "shortest length drawn")
    title: Literal["first", "ignore"] = option(
        "first", "the title stands in front of the first passage (never of every span: siblings would be known by it)"
    )
    segmenter: Literal["none", "jieba"] = option(
        "none", "jieba finds the words of Chinese text for whole-word masking (extra zh)"
    )
    evaluation: NonNegativeFloat = option(
        0.0, "documents set aside for evaluation, chosen by the hash of their ids: a share below 1 or a number"
    )
    seed: Seed = option(0, "of everything random in the cutting")

    def __post_init__(self) -> None:
        check(self)
        if self.min_tokens > self.target_tokens:
            raise InputError(
                f"min_tokens is {self.min_tokens}; it cannot be above target_tokens ({self.target_tokens})."
            )
        if self.evaluation >= 1 and self.evaluation != int(self.evaluation):
            raise InputError(f"evaluation is {self.evaluation}; give a share below 1 or a whole number of documents.")


def span_features(vocab_size: int, word_starts: bool) -> Features:
    """Return the columns of a span file: one row per document, its spans end to end in `tokens`."""
    columns = {
        "_id": Value("string"),
        "id_hash": Value("uint64"),
        "tokens": List(Value("uint16" if vocab_size <= 1 << 16 else "int32")),
        "span_ends": List(Value("int32")),
    }
    if word_starts:
        columns["word_starts"] = List(Value("uint8"))
    return Features(columns)


def document_texts(title: str | None, passages: Sequence[str | None] | None, options: SpanOptions) -> list[str]:
    """Return a document's texts in order, empty ones left out, the title where the options wants it."""
    texts = [text for text in passages or [] if text and not text.isspace()]
    if options.title == "first" and title and not title.isspace():
        texts[:1] = [f"{title} {texts[0]}" if texts else title]
    return texts


def cut_documents(
    documents: Mapping[str, Sequence[Any]], tokenizer: UnitTokenizer, options: SpanOptions, schema: pa.Schema
) -> pa.RecordBatch:
    """Tokenise a batch of documents (columns `_id`, `title`, `passages`) and cut them; empty ones are left out."""
    texts: list[str] = []
    text_counts = []
    for title, passages in zip(documents["title"], documents["passages"], strict=True):
        found = document_texts(title, passages, options)
        texts += found
        text_counts.append(len(found))
    tokenised = tokenizer(texts)
    bounds = np.concatenate([[0], tokenised.text_ends])[np.concatenate([[0], np.cumsum(text_counts)])]
    kept = np.flatnonzero(np.diff(bounds))
    ids = [str(documents["_id"][row]) for row in kept.tolist()]
    hashes = hash_texts(ids)
    starts, ends = bounds[:-1][kept], bounds[1:][kept]
    spans = _span_ends(tokenised, starts, ends, hashes, options)
    # Documents left out have no tokens, so those that stay lie end to end.
    columns = {
        "_id": pa.array(ids, pa.string()),
        "id_hash": pa.array(hashes),
        "tokens": _lists(tokenised.tokens, np.append(starts, bounds[-1]), schema.field("tokens").type),
        "span_ends": _lists(
            np.concatenate([np.zeros(0, np.int64), *spans]),
            np.cumsum([0, *map(len, spans)]),
            schema.field("span_ends").type,
        ),
    }
    if tokenised.word_starts is not None:
        columns["word_starts"] = _lists(
            tokenised.word_starts, np.append(starts, bounds[-1]), schema.field("word_starts").type
        )
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _lists(values: npt.NDArray[Any], offsets: npt.NDArray[np.int64], kind: pa.ListType) -> pa.ListArray:
    flat = pa.array(values.astype(kind.value_type.to_pandas_dtype()))
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), flat, type=kind)


def _span_ends(
    tokenised: TokenisedTexts,
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
    options: SpanOptions,
) -> list[npt.NDArray[np.int64]]:
    """Where each document's spans end, counted from the document's first token."""
    cuts = tokenised.sentence_ends if options.unit == "sentences" else np.unique(tokenised.text_ends)
    first, last = np.searchsorted(cuts, starts, "right"), np.searchsorted(cuts, ends, "right")
    keys = derive_key(options.seed, hashes)
    spans = []
    for start, key, a, b in zip(starts, keys, first, last, strict=True):
        relative = cuts[a:b] - start
        if options.unit == "sentences":
            most = len(relative) + int(relative[-1]) // options.min_tokens + 1
            relative = np.array(_at_least_two(relative, span_targets(key, most, options)), np.int64)
        spans.append(relative)
    return spans


def _at_least_two(sentence_ends: npt.NDArray[np.int64], targets: Sequence[int]) -> Sequence[int]:
    """Pack sentences; where all fit into one span, cut near the middle, so that they give a pair."""
    spans = pack_sentences(sentence_ends.tolist(), targets)
    if len(spans) > 1 or len(sentence_ends) < 2:
        return spans
    middle = int(np.abs(sentence_ends[:-1] - sentence_ends[-1] / 2).argmin())
    return [int(sentence_ends[middle]), int(sentence_ends[-1])]


def span_targets(key: np.uint64, number: int, options: SpanOptions) -> list[int]:
    """Draw the lengths that spans are packed up to: mostly the target, with the share of short ones."""
    draws = uniform(key, np.arange(number, dtype=np.uint64))
    if options.short_share == 0:
        return [options.target_tokens] * number
    width = options.target_tokens - options.min_tokens + 1
    short = options.min_tokens + (draws / options.short_share * width).astype(np.int64)
    return np.where(draws < options.short_share, short, options.target_tokens).tolist()


def pack_sentences(sentence_ends: Sequence[int], targets: Sequence[int]) -> list[int]:
    """Pack whole sentences into spans no longer than their targets; a longer sentence is cut at the target.

    Args:
        sentence_ends: where the document's sentences end, in tokens.
        targets: the greatest length of each span in turn; long enough a list for any packing.

    Returns:
        Where the spans end.
    """
    spans: list[int] = []
    start = previous = 0
    for end in sentence_ends:
        if end - start > targets[len(spans)] and previous > start:
            start = previous
            spans.append(start)
        while end - start > targets[len(spans)]:
            start += targets[len(spans)]
            spans.append(start)
        previous = end
    if previous > start:
        spans.append(previous)
    return spans
