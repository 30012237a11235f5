"""A data set of random spans with the interface of `SpanDataset`, for tests of the trainer alone."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.families import VOCABULARY


class ToySpans(torch.utils.data.Dataset):
    """Two spans a document, lengths 4 to 12, drawn from (seed, epoch, document)."""

    def __init__(self, documents: int, spans: int = 2) -> None:
        self.documents, self.spans, self.epoch = documents, spans, 0

    def __len__(self) -> int:
        return self.documents

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict:
        generator = torch.Generator().manual_seed(index * 1000 + self.epoch)
        lengths = torch.randint(4, 13, (self.spans,), generator=generator).tolist()
        spans = [torch.randint(5, VOCABULARY, (n,), generator=generator) for n in lengths]
        masks = [torch.rand(n, generator=generator) < 0.3 for n in lengths]
        return {"spans": spans, "masks": masks, "document_id": index}


def collate(items: list[dict]) -> dict[str, Tensor]:
    """Pad, and mask what the item says."""
    spans = [span for item in items for span in item["spans"]]
    masks = [mask for item in items for mask in item["masks"]]
    length = max(map(len, spans))
    batch = {
        "input_ids": torch.zeros(len(spans), length, dtype=torch.long),
        "attention_mask": torch.zeros(len(spans), length, dtype=torch.long),
        "labels": torch.full((len(spans), length), -100),
        "document_ids": torch.tensor([item["document_id"] for item in items for _ in item["spans"]]),
    }
    for row, (span, mask) in enumerate(zip(spans, masks, strict=True)):
        mask[1] = True
        batch["input_ids"][row, : len(span)] = torch.where(mask, 4, span)
        batch["attention_mask"][row, : len(span)] = 1
        batch["labels"][row, : len(span)] = torch.where(mask, span, -100)
    return batch
