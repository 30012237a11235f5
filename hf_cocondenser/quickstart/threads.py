"""How many threads to compute with: all of them on a quiet machine, one where other programs keep the cores busy.

Threads of one operation wait for each other after each part of it; where one of them has to wait for a core, all do,
and two threads can be ten times slower than one.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

logger = logging.getLogger(__name__)

ROUNDS = 5
OPERATIONS = 10


@contextmanager
def fastest_threads() -> Iterator[int]:
    """Compute with as many threads as a short trial finds best; the former number is set again at the end."""
    before = torch.get_num_threads()
    try:
        if before > 1:
            # Alternating, since what else the machine does changes from second to second.
            times: dict[int, list[float]] = {1: [], before: []}
            for _ in range(ROUNDS):
                for threads, seconds in times.items():
                    torch.set_num_threads(threads)
                    seconds.append(_trial())
            best = min(times, key=lambda threads: statistics.mean(times[threads]))
            torch.set_num_threads(best)
            if best == 1:
                logger.info("The machine is busy: one thread is faster than %d.", before)
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def _trial() -> float:
    """Seconds for products of the size that a small encoder's training step is made of."""
    hidden, weight = torch.randn(2048, 256), torch.randn(256, 256)
    started = time.perf_counter()
    for _ in range(OPERATIONS):
        hidden = torch.tanh(hidden @ weight)
    return time.perf_counter() - started
