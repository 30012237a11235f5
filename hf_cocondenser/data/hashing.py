"""Random numbers as pure functions of (key, counter): the same draw in any worker, order or resumed run.

The generator is splitmix64 (Steele, Lea, Flood 2014), evaluated at a counter instead of stepped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

UInt64 = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def random_bits(keys: npt.ArrayLike, counters: npt.ArrayLike) -> UInt64:
    """Return 64 random bits for each pair of key and counter (broadcast against each other)."""
    keys, counters = np.atleast_1d(np.asarray(keys, np.uint64)), np.atleast_1d(np.asarray(counters, np.uint64))
    bits = keys + (counters + np.uint64(1)) * _GOLDEN
    bits ^= bits >> np.uint64(30)
    bits *= _FIRST
    bits ^= bits >> np.uint64(27)
    bits *= _SECOND
    bits ^= bits >> np.uint64(31)
    return bits


def uniform(keys: npt.ArrayLike, counters: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return a number in [0, 1) for each pair of key and counter."""
    return (random_bits(keys, counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def derive_key(*parts: npt.ArrayLike) -> UInt64:
    """Return one key per element from several numbers, such as seed, epoch and document (broadcast)."""
    key = np.zeros(1, np.uint64)
    for part in parts:
        key = random_bits(key, part)
    return key


def hash_texts(texts: Iterable[str]) -> UInt64:
    """Return a 64-bit hash of each text, the same on every machine and in every process."""
    digests = b"".join(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)
