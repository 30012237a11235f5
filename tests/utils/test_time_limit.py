"""A process that hangs does not keep the others waiting: the time limit reaches the process group, on CPUs too."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from tests.launch import ROOT

RANK = """
import os, sys, time
from hf_cocondenser.utils.distributed import processes, wait_for_everyone
import torch, torch.distributed as dist
processes()
wait_for_everyone()
if os.environ["RANK"] == "1":
    time.sleep(120)
try:
    dist.all_reduce(torch.ones(1))
except RuntimeError as error:
    print(error)
    sys.stdout.flush()
    os._exit(7)
"""


@pytest.mark.distributed
def test_a_process_that_does_not_answer_is_given_up_on():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "CUDA_VISIBLE_DEVICES": "",
        "HF_COCONDENSER_TIMEOUT": "5",
        "PYTHONPATH": str(ROOT),
    }
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        output, _ = ranks[0].communicate(timeout=100)
        assert ranks[0].returncode == 7 and "Timed out waiting 5000ms" in output
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
