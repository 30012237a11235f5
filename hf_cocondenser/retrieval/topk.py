"""Exact search: the greatest inner products of a matrix, block by block."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch

from hf_cocondenser.errors import InputError

_QUERIES_AT_ONCE = 1024
_CPU_BUDGET = 32 * 2**20  # half the time of 512 MiB, whose scores go through the memory three times
_GPU_BUDGET = 2**30
_MANY_CANDIDATES = 2048  # of a block and query, from which selecting beats listing them


class Matrix(Protocol):
    """What can be searched: an array, a memory map, or shards; slices give float32 rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, dimension)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> np.ndarray: ...


def normalized(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1 (zero vectors stay zero), float32."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(norms, 1e-12)).astype(np.float32)


def exact_top_k(
    queries: np.ndarray,
    documents: Matrix,
    k: int,
    *,
    cosine: bool = False,
    memory_budget: int | None = None,
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """The `k` greatest inner products (or cosines) of every query, best first.

    Equal scores are ordered by row, whatever the block size.

    Args:
        queries: float32, shape (q, d).
        documents: shape (n, d).
        k: hits per query (all rows when there are fewer).
        cosine: divide by the vectors' lengths.
        memory_budget: bytes for a block of documents and its scores; by default what a CPU's cache holds, and 1 GiB on a
            GPU.
        device: where to multiply.

    Returns:
        Scores float32 and rows int64, both of shape (q, min(k, n)).

    Raises:
        InputError: the dimensions differ.
    """
    if queries.shape[1] != documents.shape[1]:
        raise InputError(
            f"The queries have {queries.shape[1]} dimensions and the documents {documents.shape[1]};"
            f" they must come from the same retriever."
        )
    k = min(k, len(documents))
    if not len(queries) or not k:
        return np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    queries = normalized(queries) if cosine else np.ascontiguousarray(queries, dtype=np.float32)
    parts = [
        torch.from_numpy(queries[start : start + _QUERIES_AT_ONCE]).to(device)
        for start in range(0, len(queries), _QUERIES_AT_ONCE)
    ]
    if memory_budget is None:
        memory_budget = _CPU_BUDGET if torch.device(device).type == "cpu" else _GPU_BUDGET
    # Bytes of a document: its vector twice (read, converted), a score and its comparison for each query of a part.
    block = max(1, memory_budget // (8 * queries.shape[1] + 8 * len(parts[0])))
    best: list[tuple[torch.Tensor, torch.Tensor] | None] = [None] * len(parts)
    for start in range(0, len(documents), block):
        rows = np.asarray(documents[start : start + block], dtype=np.float32)
        rows = normalized(rows) if cosine else rows
        # A read-only memory map is copied: torch warns about what it could write to.
        matrix = torch.from_numpy(rows if rows.flags.writeable else rows.copy()).to(device)
        for number, part in enumerate(parts):
            best[number] = _merge(best[number], part @ matrix.T, start, k)
    found = [hits for hits in best if hits is not None]
    scores = torch.cat([hits[0] for hits in found]).cpu().numpy()
    return scores, torch.cat([hits[1] for hits in found]).cpu().numpy()


def _merge(
    best: tuple[torch.Tensor, torch.Tensor] | None, scores: torch.Tensor, start: int, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best of the rows before (best first) and of a block of scores (queries, rows) that begins at row `start`."""
    if best is None or best[0].shape[1] < k:
        values, columns = _top_columns(scores, min(k, scores.shape[1]))
    else:
        # Only what beats the k-th hit counts, and an equal score of a later row does not.
        values, columns = _columns_above(scores, best[0][:, -1:])
    columns = columns + start
    if best is not None:
        values, columns = torch.cat([best[0], values], dim=1), torch.cat([best[1], columns], dim=1)
    # Earlier rows stand first among equals, and a stable sort leaves them there.
    order = values.argsort(dim=1, descending=True, stable=True)[:, :k]
    return values.gather(1, order), columns.gather(1, order)


def _columns_above(scores: torch.Tensor, threshold: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All scores above each row's threshold, with their columns, padded with -inf; columns ascend."""
    above = scores > threshold
    counts = above.sum(dim=1)
    width = int(counts.max())
    if width > _MANY_CANDIDATES:
        return _top_columns(scores, width)
    rows, columns = above.nonzero(as_tuple=True)
    places = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    values = scores.new_full((len(scores), width), -torch.inf)
    found = columns.new_zeros((len(scores), width))
    values[rows, places] = scores[rows, columns]
    found[rows, places] = columns
    return values, found


def _top_columns(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The top `k` of every row with their columns, columns ascending; equal scores by column, as `topk` does not."""
    values, columns = scores.topk(k, dim=1)
    threshold = values[:, -1:]
    ambiguous = (scores == threshold).sum(dim=1) > (values == threshold).sum(dim=1)
    for row in ambiguous.nonzero().flatten().tolist():
        above = (scores[row] > threshold[row]).nonzero().flatten()
        equal = (scores[row] == threshold[row]).nonzero().flatten()[: k - len(above)]
        columns[row] = torch.cat([above, equal])
    columns = columns.sort(dim=1).values
    return scores.gather(1, columns), columns
