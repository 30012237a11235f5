"""Memory that the C library keeps after it was freed."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache


def release_free_memory() -> None:
    """Give the pages of freed blocks back to the system, those in the midst of the heap too.

    glibc does so only at the heap's end. Tensors of ever other sizes (chunks of other lengths) leave holes that the
    next ones do not fit into, so a long step would grow as if it leaked. Does nothing where the C library is another, or
    where the environment tells glibc to keep freed memory (`MALLOC_TRIM_THRESHOLD_`).
    """
    if "MALLOC_TRIM_THRESHOLD_" not in os.environ and (trim := _malloc_trim()) is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # no such function; no such library; Windows
        return None
