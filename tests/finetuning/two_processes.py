"""Run under torchrun: writes the global loss and gradient sums of one fixed global batch, whatever the world size."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from sentence_transformers import SentenceTransformer
from torch.nn.parallel import DistributedDataParallel

from hf_cocondenser.finetuning.loss import MaskedContrastiveLoss
from hf_cocondenser.utils.distributed import leave_process_group


def main(folder: Path, temperature: float, wanted: list[str], variants: list[str]) -> None:
    """Two mini-batches of 2 rows a column and process, cached and not, in the `wanted` directions, with what `variants` say."""
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    rng = np.random.default_rng(0)
    rows = [[" ".join(f"w{w}" for w in rng.integers(0, 200, rng.integers(2, 30))) for _ in range(8)] for _ in range(3)]
    labels = torch.from_numpy(rng.integers(0, 12, (8, 5)))
    mine = slice(rank * 8 // world, (rank + 1) * 8 // world)
    results = {}
    for directions, cached, variant in itertools.product(wanted, (True, False), variants):
        model = SentenceTransformer(str(folder / "model"), device="cpu").double()
        if hasattr(model[0].auto_model, "pooler"):
            model[0].auto_model.pooler = None  # an unused parameter would keep DDP from synchronising
        model.eval()  # no dropout: processes draw different masks
        wrapped = DistributedDataParallel(model, broadcast_buffers=False)
        loss = MaskedContrastiveLoss(
            model, temperature, directions=directions, gradient_cache=cached, mini_batch_size=3
        )
        loss.model = wrapped
        columns, keys = (rows, labels[mine]) if not variant else (rows[:2], None)
        value = loss([model.preprocess(column[mine]) for column in columns], keys)
        value.backward()
        total = value.detach().clone()
        dist.all_reduce(total)
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        sums = [float(g.sum()) for g in gradients] + [float(g.norm()) for g in gradients]
        results[f"{directions} {'cached' if cached else 'plain'}{variant}"] = [float(total) / world, *sums]
    if rank == 0:
        (folder / f"{world}.json").write_text(json.dumps(results))
    dist.barrier()
    del wrapped, loss  # they hold DDP's reducer
    leave_process_group()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), float(sys.argv[2]), ["sum"], ["", ", no negatives"])
    else:
        main(Path(sys.argv[1]), 2.0, ["forward", "sum", "mean"], [""])
