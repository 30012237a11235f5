"""What a scorer keeps of texts: any number of vectors for each, and perhaps one for the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


@dataclass(frozen=True)
class Vectors:
    """The vectors of n texts, padded to the most that one of them has.

    Attributes:
        tokens: shape (n, t, d).
        keys: int64, shape (n, t): what a vector stands for (a token's id), -1 where there is none.
        whole: one more vector of each text, shape (n, c); c is 0 for scorers that have none.
    """

    tokens: Tensor
    keys: Tensor
    whole: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def mask(self) -> Tensor:
        """Where there is a vector, bool (n, t)."""
        return self.keys >= 0

    def take(self, rows: Tensor) -> Vectors:
        """Some of the texts, in the order asked for."""
        return Vectors(self.tokens[rows], self.keys[rows], self.whole[rows])

    def to(self, device: torch.device) -> Vectors:
        """The same on another device."""
        return Vectors(self.tokens.to(device), self.keys.to(device), self.whole.to(device))

    @classmethod
    def single(cls, vectors: Tensor) -> Vectors:
        """One vector for each text, from shape (n, d)."""
        keys = torch.zeros(len(vectors), 1, dtype=torch.long, device=vectors.device)
        return cls(vectors[:, None], keys, vectors.new_zeros(len(vectors), 0))

    @classmethod
    def several(cls, tokens: Tensor, keys: Tensor, whole: Tensor | None = None) -> Vectors:
        """Vectors (n, t, d) with their keys (n, t)."""
        return cls(tokens, keys, tokens.new_zeros(len(tokens), 0) if whole is None else whole)

    @classmethod
    def join(cls, parts: Sequence[Vectors]) -> Vectors:
        """Texts of several batches, one after the other."""
        most = max(part.tokens.shape[1] for part in parts)
        tokens, keys = [], []
        for part in parts:
            missing = most - part.tokens.shape[1]
            tokens.append(torch.nn.functional.pad(part.tokens, (0, 0, 0, missing)))
            keys.append(torch.nn.functional.pad(part.keys, (0, missing), value=-1))
        return cls(torch.cat(tokens), torch.cat(keys), torch.cat([part.whole for part in parts]))

    @classmethod
    def pad(cls, tokens: Sequence[Tensor], keys: Sequence[Tensor], whole: Tensor) -> Vectors:
        """Texts given one by one, tokens (t_i, d) and keys (t_i,), padded to the longest."""
        return cls(
            pad_sequence(list(tokens), batch_first=True),
            pad_sequence(list(keys), batch_first=True, padding_value=-1),
            whole,
        )
