"""The number of threads is one that was tried, and is put back."""

from __future__ import annotations

import torch

from hf_cocondenser.quickstart.threads import fastest_threads


def test_threads_are_chosen_and_put_back() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with fastest_threads() as threads:
            assert threads == torch.get_num_threads()
            assert threads in (1, 2)
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)
        with fastest_threads() as threads:
            assert threads == 1
    finally:
        torch.set_num_threads(before)
