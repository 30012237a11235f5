"""Starts real processes with torchrun, and says where they stand when they hang."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]


def torchrun(processes: int, arguments: Sequence[object], timeout: float = 120) -> None:
    """Run `torchrun --nproc-per-node PROCESSES ARGUMENTS` from the repository's root, one thread each, without GPUs.

    A launch whose processes could not meet (another program took the port in between) is begun again once. One that
    takes longer than `timeout` seconds hangs: it is ended, and the stack of every thread is told.

    Raises:
        AssertionError: the exit status is not 0, or it hung.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += [str(argument) for argument in arguments]
    status, output = _run(command, timeout)
    if status and re.search(r"Rendezvous\w*Error|EADDRINUSE|[Aa]ddress already in use", output):
        status, output = _run(command, timeout)
    assert status is not None, f"hung: {' '.join(command)}\n{output[-20000:]}"
    assert status == 0, output[-3000:]


def kill_when(process: subprocess.Popen, ready: Callable[[], bool], timeout: float = 120) -> None:
    """Kill a process, hard, once `ready` says so; it must be running until then, and die of nothing else.

    Raises:
        AssertionError: it ended by itself, or was not ready in time.
    """
    deadline = time.monotonic() + timeout
    while not ready() and time.monotonic() < deadline:
        assert process.poll() is None, f"it ended by itself with status {process.returncode}"
        time.sleep(0.005)
    in_time = ready()
    process.kill()
    assert process.wait() == -signal.SIGKILL and in_time


def _run(command: list[str], timeout: float) -> tuple[int | None, str]:
    """The exit status (None: it hung) and what was written to stderr."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
        "PYTHONFAULTHANDLER": "1",  # SIGABRT writes the stacks
    }
    with tempfile.TemporaryFile() as errors:  # a pipe nobody reads would make a process wait that is being killed
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=errors, stderr=errors)
        try:
            status: int | None = process.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
            # The workers are sessions of their own.
            family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
            for member in family:
                member.send_signal(signal.SIGABRT)
            for member in psutil.wait_procs(family, timeout=10)[1]:
                member.kill()
            process.wait()
        errors.seek(0)
        return status, errors.read().decode(errors="replace")
