"""Leaving torch's process group in an order that neither hangs nor aborts."""

from __future__ import annotations

import gc
import sys
import time


def leave_process_group() -> None:
    """End the process group, where there is one; for the end of a process, however it ends.

    Processes that leave without it abort now and then. And a group that is destroyed while DDP's reducer holds the last
    reference to it, or while its thread is about to drop a tensor of Python's, waits with Python's lock for a thread
    that needs this lock. So reducers go first, and the thread gets its turn.
    """
    distributed = sys.modules.get("torch.distributed")  # a process that never imported torch has none
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return
    gc.collect()
    time.sleep(0.1)  # gives up Python's lock
    distributed.destroy_process_group()
