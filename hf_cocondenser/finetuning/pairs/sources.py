"""Pairs of a question and its answer, from files, BEIR folders or the Hub, mixed into one endless stream."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from datasets import IterableDataset

from hf_cocondenser.data.sources import describe_failure, find_files, open_source
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.beir import is_beir_folder
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data

logger = logging.getLogger(__name__)

Pair = tuple[str, str]

_QUESTIONS = ("question", "query", "anchor", "title", "sentence1", "text1")
_ANSWERS = (
    "answer",
    "answers",
    "positive",
    "pos",
    "passage",
    "passages",
    "document",
    "response",
    "body",
    "text",
    "sentence2",
    "text2",
)


@dataclass(frozen=True)
class PairSource:
    """One source.

    Attributes:
        name: what the user called it.
        weight: its share of the mixture before scaling; None when none was given.
        size: pairs in it, as far as that is known without reading all of it.
        rows: (seed, epoch) -> its pairs once, in an order that is a function of the two.
    """

    name: str
    weight: float | None
    size: int | None
    rows: Callable[[int, int], Iterator[Pair]]


def parse_source(text: str) -> tuple[str, float | None]:
    """Cut `SOURCE:WEIGHT` in two; a source without a weight has None.

    Raises:
        InputError: the weight is not above 0.
    """
    name, colon, last = text.rpartition(":")
    if not colon or Path(text).exists():
        return text, None
    try:
        weight = float(last)
    except ValueError:
        return text, None
    if not 0 < weight < float("inf"):
        raise InputError(f"The weight of the pairs '{text}' must be above 0.")
    return name, weight


def open_pairs(
    text: str,
    *,
    question_column: str | None = None,
    answer_column: str | None = None,
    buffer: int = 10_000,
    count: bool = True,
) -> PairSource:
    """Open one source: a BEIR folder (its training judgements), a file or folder of JSON lines, Parquet or CSV, or a Hub id.

    Files and the Hub are streamed, through a shuffling buffer; where a row has several answers one is drawn.

    Args:
        text: `SOURCE` or `SOURCE:WEIGHT`.
        question_column, answer_column: by default the usual names, or the two columns there are.
        buffer: pairs in the shuffling buffer; 0 keeps the order of the file.
        count: count the pairs of a file without a weight, for which it is read to its end.

    Raises:
        InputError: the source cannot be read or its columns cannot be told.
    """
    name, weight = parse_source(text)
    folder = Path(name)
    if folder.is_dir() and is_beir_folder(folder) and (folder / "qrels").is_dir():
        data = load_retrieval_data(folder, "train")
        pairs = [
            (data.queries[query], data.corpus[document])
            for query, documents in data.relevant().items()
            for document in documents
        ]
        return PairSource(name, weight, len(pairs), lambda seed, epoch: _drawn(pairs, seed, epoch))
    rows = open_source(name, streaming=True)
    assert isinstance(rows, IterableDataset)
    try:
        first = next(iter(rows), None)
    except Exception as error:
        raise describe_failure(name, error) from None
    if first is None:
        raise InputError(f"'{name}' is empty.")
    columns = _columns(name, first, question_column, answer_column)
    read = _Reader(name, rows, columns)
    local = find_files(name) is not None
    few = list(islice(read(), buffer + 1)) if local else []
    if 0 < len(few) <= buffer:  # a small file is kept, which spares opening it again and again
        return PairSource(name, weight, len(few), lambda seed, epoch: _drawn(few, seed, epoch))
    size = sum(1 for _ in read()) if local and weight is None and count else _size_on_hub(rows)

    def stream(seed: int, epoch: int) -> Iterator[Pair]:
        draw = np.random.default_rng((seed, epoch))
        shuffle = {"seed": int(draw.integers(2**31)), "buffer_size": buffer}
        for question, answer in (replace(read, rows=rows.shuffle(**shuffle)) if buffer else read)():
            yield _text(question, draw), _text(answer, draw)

    return PairSource(name, weight, size, stream)


@dataclass(frozen=True)
class _Reader:
    """Reads the two columns of a stream of rows, telling what is wrong with it in one sentence."""

    name: str
    rows: IterableDataset
    columns: tuple[str, str]

    def __call__(self) -> Iterator[tuple[Any, Any]]:
        iterator = iter(self.rows)
        while True:
            try:
                row = next(iterator, None)
            except Exception as error:  # datasets raises whatever its readers and the network raise
                raise describe_failure(self.name, error) from None
            if row is None:
                return
            yield row[self.columns[0]], row[self.columns[1]]


def shares(sources: Sequence[PairSource], temperature: float) -> list[float]:
    """How often each source is drawn from, summing to 1.

    By the weights where they are given, else by size ** (1 / temperature): 1 draws every pair equally often, a large
    temperature every source.

    Raises:
        InputError: some have weights and some have not, or a size is needed and not known.
    """
    weights = [source.weight for source in sources]
    if len(sources) == 1:
        return [1.0]
    if None in weights:
        if any(weight is not None for weight in weights):
            raise InputError("Give every source of pairs a weight (SOURCE:WEIGHT), or none of them.")
        for source in sources:
            if source.size is None:
                raise InputError(f"How many pairs '{source.name}' has is not known; give all sources weights.")
        weights = [float(source.size or 0) ** (1 / temperature) for source in sources]
    total = sum(weight or 0.0 for weight in weights)
    return [(weight or 0.0) / total for weight in weights]


def mixed_pairs(sources: Sequence[PairSource], temperature: float, seed: int) -> Iterator[Pair]:
    """An endless stream of pairs, a function of the seed: sources are drawn by their `shares`, each begun anew at its end.

    Raises:
        InputError: a source has no pair with both texts; see `shares`.
    """
    odds = shares(sources, temperature)
    if len(sources) > 1:
        told = ", ".join(f"{source.name} {share:.1%}" for source, share in zip(sources, odds, strict=True))
        logger.info("Pairs are drawn from: %s.", told)
    streams = [_endless(source, seed + number) for number, source in enumerate(sources)]
    draw = np.random.default_rng((seed, len(sources)))
    while True:
        for choice in draw.choice(len(sources), 1024, p=odds).tolist():
            yield next(streams[choice])


def _endless(source: PairSource, seed: int) -> Iterator[Pair]:
    epoch = 0
    while True:
        usable = 0
        for question, answer in source.rows(seed, epoch):
            if question and answer:
                usable += 1
                yield question, answer
        if not usable:
            raise InputError(f"'{source.name}' has no pair with a question and an answer.")
        epoch += 1


def _drawn(pairs: Sequence[tuple[Any, Any]], seed: int, epoch: int) -> Iterator[Pair]:
    draw = np.random.default_rng((seed, epoch))
    for index in draw.permutation(len(pairs)).tolist():
        question, answer = pairs[index]
        yield _text(question, draw), _text(answer, draw)


def _columns(name: str, row: dict[str, Any], question: str | None, answer: str | None) -> tuple[str, str]:
    for column in (question, answer):
        if column and column not in row:
            raise InputError(f"'{name}' has no column '{column}'; there are {', '.join(row)}.")
    texts = [column for column, value in row.items() if _is_text(value)]
    question = question or next((known for known in _QUESTIONS if known in texts and known != answer), None)
    answer = answer or next((known for known in _ANSWERS if known in texts and known != question), None)
    if len(texts) > 2:
        texts = [column for column in texts if not _is_number(row[column])]
    if len(texts) == 2:
        question = question or next(column for column in texts if column != answer)
        answer = answer or next(column for column in texts if column != question)
    if question is None or answer is None or question == answer:
        raise InputError(
            f"Which columns of '{name}' hold questions and answers cannot be told; there are {', '.join(row)}: name them"
            " (--pairs-question, --pairs-answer)."
        )
    for column in (question, answer):
        if not _is_text(row[column]):
            raise InputError(
                f"The column '{column}' of '{name}' holds no texts, but such as {str(row[column])[:60]!r}."
            )
    return question, answer


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and bool(value) and isinstance(value[0], str))


def _is_number(value: Any) -> bool:
    """Whether a text is a number, as those of CSV files are read."""
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _text(value: Any, draw: np.random.Generator) -> str:
    if isinstance(value, list):
        value = value[int(draw.integers(len(value)))] if value else ""
    return value.strip() if isinstance(value, str) else ""


def _size_on_hub(rows: IterableDataset) -> int | None:
    """Rows, where the data set says how many it has."""
    splits = rows.info.splits or {}
    split = splits.get(str(rows.split))
    return int(split.num_examples) if split is not None and split.num_examples else None
