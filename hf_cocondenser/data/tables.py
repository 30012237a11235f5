"""Tables of strings and their tokens: what was tokenised once is looked up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import count, islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt

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
