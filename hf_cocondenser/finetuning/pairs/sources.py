"""Pairs of a question and its answer, from files, BEIR folders or the Hub, mixed into one endless stream."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hf_cocondenser.data.reading.pairs import SourcePair, read_pairs
from hf_cocondenser.data.reading.tables import size_on_hub
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.beir import is_beir_folder
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data

logger = logging.getLogger(__name__)


class Pair(NamedTuple):
    """A query, a passage that answers it, and one that does not (or nothing)."""

    query: str
    positive: str
    negative: str = ""


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
    query_column: str | None = None,
    positive_column: str | None = None,
    negative_column: str | None = None,
    buffer: int = 10_000,
    count: bool = True,
) -> PairSource:
    """Open one source: a BEIR folder (its training judgements), whatever `read_pairs` reads, or a Hub id.

    Files and the Hub are streamed, through a shuffling buffer; where a row has several answers (or negatives) one is
    drawn.

    Args:
        text: `SOURCE` or `SOURCE:WEIGHT`.
        query_column, positive_column, negative_column: by default those of the usual names, or the two texts there are.
        buffer: pairs in the shuffling buffer; 0 keeps the order of the file.
        count: count the pairs of a file without a weight, for which it is read to its end.

    Raises:
        InputError: the source cannot be read or its columns cannot be told.
    """
    name, weight = parse_source(text)
    folder = Path(name)
    if folder.is_dir() and is_beir_folder(folder) and (folder / "qrels").is_dir():
        data = load_retrieval_data(folder, "train")
        judged = [
            SourcePair(data.queries[query], [data.corpus[document]], [])
            for query, documents in data.relevant().items()
            for document in documents
        ]
        return PairSource(name, weight, len(judged), partial(_drawn, judged))
    read = read_pairs(name, query_column, positive_column, negative_column)
    local = all(table.path is not None for table, _ in read.tables)
    few = list(islice(read, buffer + 1)) if local else []
    if 0 < len(few) <= buffer:  # a small file is kept, which spares opening it again and again
        return PairSource(name, weight, len(few), partial(_drawn, few))
    size = None
    if weight is None:
        size = (sum(1 for _ in read) if count else None) if local else size_on_hub(name)
    return PairSource(name, weight, size, partial(_streamed, read, buffer))


def _drawn(pairs: Sequence[SourcePair], seed: int, epoch: int) -> Iterator[Pair]:
    draw = np.random.default_rng((seed, epoch))
    for index in draw.permutation(len(pairs)).tolist():
        yield _one_of_each(pairs[index], draw)


def _streamed(read: Iterable[SourcePair], buffer: int, seed: int, epoch: int) -> Iterator[Pair]:
    """The pairs in the order of the file, each held back in a buffer for a random while."""
    draw = np.random.default_rng((seed, epoch))
    rows = iter(read)
    held = list(islice(rows, buffer))
    for row in rows:
        if not buffer:
            yield _one_of_each(row, draw)
            continue
        place = int(draw.integers(buffer))
        yield _one_of_each(held[place], draw)
        held[place] = row
    for place in draw.permutation(len(held)).tolist():
        yield _one_of_each(held[place], draw)


def _one_of_each(pair: SourcePair, draw: np.random.Generator) -> Pair:
    positive, negative = (
        texts[int(draw.integers(len(texts)))] if texts else "" for texts in (pair.positives, pair.negatives)
    )
    return Pair(pair.query, positive, negative)


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
        yield from source.rows(seed, epoch)
        epoch += 1
