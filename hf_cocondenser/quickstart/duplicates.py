"""Finds near-duplicate texts: MinHash over pairs of neighbouring words (Broder 1997), candidates from banded signatures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

HASHES = 64
ROWS_PER_BAND = 4  # 16 bands of 4: texts that share half of their word pairs meet in a band with probability 0.64
_WORD = re.compile(r"\w+")
_PRIME = np.uint64((1 << 61) - 1)


def near_duplicates(texts: Sequence[str], similarity: float = 0.5) -> list[bool]:
    """Return for each text whether an earlier, kept one has (by estimate) at least this Jaccard similarity to it."""
    if not texts:
        return []
    signatures = _signatures(texts)
    duplicate = [False] * len(texts)
    buckets: list[dict[bytes, list[int]]] = [{} for _ in range(0, HASHES, ROWS_PER_BAND)]
    for index, signature in enumerate(signatures):
        keys = [signature[start : start + ROWS_PER_BAND].tobytes() for start in range(0, HASHES, ROWS_PER_BAND)]
        candidates = sorted(
            {other for key, bucket in zip(keys, buckets, strict=True) for other in bucket.get(key, ())}
        )
        if candidates and (signatures[candidates] == signature).mean(axis=1).max() >= similarity:
            duplicate[index] = True
            continue
        for key, bucket in zip(keys, buckets, strict=True):
            bucket.setdefault(key, []).append(index)
    return duplicate


def _signatures(texts: Sequence[str]) -> NDArray[np.uint32]:
    """Return the MinHash signatures (texts, HASHES)."""
    shingles: list[int] = []
    starts: list[int] = []
    for text in texts:
        words = _WORD.findall(text.lower())
        starts.append(len(shingles))
        pairs = {" ".join(pair) for pair in pairwise(words)} or {text}
        shingles.extend(crc32(pair.encode()) for pair in pairs)
    values = np.array(shingles, dtype=np.uint64)
    generator = np.random.default_rng(0)
    factors = generator.integers(1, 1 << 29, size=HASHES, dtype=np.uint64)
    offsets = generator.integers(0, 1 << 60, size=HASHES, dtype=np.uint64)
    columns = [
        np.minimum.reduceat((values * factor + offset) % _PRIME & np.uint64(0xFFFFFFFF), starts)
        for factor, offset in zip(factors, offsets, strict=True)
    ]
    return np.stack(columns, axis=1).astype(np.uint32)
