"""Freed memory goes back to the system, in the midst of a step too."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from hf_cocondenser.pretraining import step
from hf_cocondenser.utils import memory
from hf_cocondenser.utils.memory import release_free_memory
from tests.pretraining.test_trainer import trainer_for

STATUS = Path("/proc/self/statm")


def resident_mib() -> float:
    return int(STATUS.read_text().split()[1]) * 4096 / 2**20


@pytest.mark.skipif(
    not STATUS.is_file() or memory._malloc_trim() is None, reason="needs /proc and glibc, whose heap this is about"
)
def test_holes_in_the_heap_are_given_back(monkeypatch):
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    blocks, kept = [], []
    for _ in range(1000):
        blocks.append(torch.ones(25_000))  # 100 kB: on the heap, not a mapping of its own
        kept.append(torch.ones(16))
    blocks.clear()
    gc.collect()
    before = resident_mib()
    with monkeypatch.context() as told_to_keep:
        told_to_keep.setenv("MALLOC_TRIM_THRESHOLD_", "100000000000")
        release_free_memory()
        assert before - resident_mib() < 5
    release_free_memory()
    assert before - resident_mib() > 40
    assert all(bool((tensor == 1).all()) for tensor in kept)


def test_a_cached_step_of_many_chunks_releases_memory_on_the_way(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(step, "release_free_memory", lambda: calls.append(1))
    monkeypatch.setattr(step, "RELEASE_EVERY", 4)
    trainer_for(tmp_path, max_steps=1, documents=8, chunk_tokens=1).train()
    assert len(calls) == 1 + 16 // 4
