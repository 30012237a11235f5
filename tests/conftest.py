"""Fixtures shared by all tests: everything is made here, nothing is downloaded."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# What a script starts with & ignores Ctrl-C, and so does all that it starts: the tests of Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real retrieval data, where there is one."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HF_COCONDENSER_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real data not found at '{folder}' (set HF_COCONDENSER_DATA)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small tensors gain nothing from threads, and tests run beside each other."""
    import torch

    torch.set_num_threads(1)
