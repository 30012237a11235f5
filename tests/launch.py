"""Starts real processes with torchrun, and says where they stand when they hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]


def torchrun(processes: int, arguments: Sequence[object], timeout: float = 120) -> None:
    """Run `torchrun --nproc-per-node PROCESSES ARGUMENTS` from the repository's root, one thread each, without GPUs.

    Launching has hung once in some hundreds of runs, without a trace of where. So a launch that takes longer than
    `timeout` seconds is ended with the stack of every thread in a warning, and begun again once; a second hang fails.

    Raises:
        AssertionError: the exit status is not 0, or it hung twice.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += [str(argument) for argument in arguments]
    for _ in range(2):
        status, output = _run(command, timeout)
        if status is not None:
            assert status == 0, output[-3000:]
            return
        warnings.warn(f"hung: {' '.join(command)}\n{output[-20000:]}", stacklevel=2)
    raise AssertionError(f"hung twice: {' '.join(command)}\n{output[-20000:]}")


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
