"""The processes started by torchrun or accelerate launch, for work that is cut into independent parts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from hf_cocondenser.utils.process_group import leave_process_group


@dataclass(frozen=True)
class Processes:
    """This process among those that work together.

    Attributes:
        rank: this process, from 0.
        world_size: how many there are.
    """

    rank: int
    world_size: int

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.world_size > 1:
            dist.barrier()

    def decide(self, value: bool) -> bool:
        """What the first process says, in every process."""
        values = [value]
        if self.world_size > 1:
            dist.broadcast_object_list(values)
        return values[0]


@contextmanager
def launched_processes() -> Iterator[Processes]:
    """The processes that a launcher started together (one, without a launcher).

    An existing process group is used; otherwise one over gloo is made and taken down again. The time limit is long
    because a rank may finish hours before another.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if dist.is_available() and dist.is_initialized():
        yield Processes(dist.get_rank(), dist.get_world_size())
        return
    if world_size == 1:
        yield Processes(0, 1)
        return
    dist.init_process_group("gloo", timeout=timedelta(days=7))
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        leave_process_group()


def local_device() -> str | None:
    """This process's own GPU under a launcher (`cuda:1`); None leaves the choice to the library."""
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return f"cuda:{rank % torch.cuda.device_count()}"
    return None


def cpu_threads() -> int:
    """Threads for this process: its share of the cores under a launcher.

    torchrun gives every process a single thread when OMP_NUM_THREADS is not set, which leaves cores idle.
    """
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if local == 1 or os.environ.get("OMP_NUM_THREADS", "1") != "1":
        return torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // local)
