"""How many threads to compute with: all of them on a quiet machine, one where other programs keep the cores busy.

Threads of one operation wait for each other; where one of them has to wait for a core, all do, and two threads can be
ten times slower than one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

logger = logging.getLogger(__name__)


@contextmanager
def fastest_threads() -> Iterator[int]:
    """Compute with as many threads as a short trial finds best; the former number is set again at the end."""
    before = torch.get_num_threads()
    seconds = {1: 0.0, before: 0.0}
    try:
        for _ in range(5 if before > 1 else 0):  # alternating: what else the machine does changes all the time
            for threads in seconds:
                torch.set_num_threads(threads)
                seconds[threads] += _trial()
        best = min(seconds, key=lambda threads: (seconds[threads], -threads))
        torch.set_num_threads(best)
        if best < before:
            logger.info("The machine is busy: one thread is faster than %d.", before)
        yield best
    finally:
        torch.set_num_threads(before)


def _trial() -> float:
    """Seconds for products of the size that a small encoder's training step is made of."""
    hidden, weight = torch.randn(2048, 256), torch.randn(256, 256)
    started = time.perf_counter()
    for _ in range(10):
        hidden = torch.tanh(hidden @ weight)
    return time.perf_counter() - started
