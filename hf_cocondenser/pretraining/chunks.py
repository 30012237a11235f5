"""Cutting a padded batch into chunks of a token budget."""

from __future__ import annotations

from typing import Any

from torch import Tensor

Batch = dict[str, Any]


def length_order(batch: Batch) -> Tensor:
    """The rows of a batch from the longest to the shortest, (spans,)."""
    return batch["attention_mask"].sum(1).argsort(descending=True, stable=True)


def cut_batch(batch: Batch, chunk_tokens: int) -> list[Batch]:
    """Sort a padded batch by length, longest first, and cut it into chunks of at most `chunk_tokens` with padding.

    The losses do not depend on the order of spans, so this changes the padding and nothing else. A span longer than
    the budget is a chunk of its own.

    Args:
        batch: `attention_mask` (spans, length), and what else the collator made. A tensor with a row for each span is
            cut, and trimmed to the chunk's longest span where its second dimension is the length; everything else goes
            into every chunk as it is.
        chunk_tokens: the budget.
    """
    spans, length = batch["attention_mask"].shape
    order = length_order(batch)
    sorted_lengths = batch["attention_mask"].sum(1)[order].tolist()
    chunks, start = [], 0
    while start < spans:
        longest = sorted_lengths[start]
        rows = order[start : start + max(1, chunk_tokens // max(longest, 1))]
        chunks.append({name: _take(value, rows, spans, length, longest) for name, value in batch.items()})
        start += len(rows)
    return chunks


def _take(value: Any, rows: Tensor, spans: int, length: int, longest: int) -> Any:
    if not isinstance(value, Tensor) or value.dim() == 0 or len(value) != spans:
        return value
    taken = value[rows]
    return taken[:, :longest].contiguous() if taken.dim() > 1 and taken.shape[1] == length else taken
