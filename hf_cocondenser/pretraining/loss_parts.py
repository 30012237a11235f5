"""The parts of the loss and the rates that are logged beside it."""

from __future__ import annotations

import time

import torch
import torch.distributed as dist
from torch import Tensor


class LossParts:
    """Running sums of what is logged; added up over the processes when read.

    Args:
        device: where the losses are.
    """

    LOSSES = (
        "head_mlm_loss",
        "late_mlm_loss",
        "contrastive_loss",
        "contrastive_accuracy",
        "chunk_loss",
        "batch_loss",
    )
    NAMES = (*LOSSES, "tokens", "slots", "batches")

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(len(self.NAMES), dtype=torch.float64, device=device)
        self.found: set[str] = set()
        self.negatives = self.batches = 0
        self.started = time.perf_counter()

    def add(self, **values: Tensor | float) -> None:
        """Add this process's share of some sums."""
        self.found.update(values)
        for name, value in values.items():
            self.sums[self.NAMES.index(name)] += value

    def read(self) -> dict[str, float]:
        """Averages over batches of the global losses that were added, rates, and a fresh start."""
        if dist.is_initialized():
            dist.all_reduce(self.sums)
        sums = dict(zip(self.NAMES, self.sums.tolist(), strict=True))
        seconds = time.perf_counter() - self.started
        parts = {name: sums[name] / sums["batches"] for name in self.LOSSES if name in self.found}
        if "contrastive_loss" in self.found:
            parts["negatives_per_span"] = self.negatives
        parts["tokens"] = round(sums["tokens"])
        parts["tokens_per_second"] = sums["tokens"] / seconds
        parts["padding_share"] = 1 - sums["tokens"] / sums["slots"]
        self.sums.zero_()
        self.batches = 0
        self.started = time.perf_counter()
        return parts
