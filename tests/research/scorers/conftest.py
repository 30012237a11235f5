"""Fresh scorers on the tiny encoder checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.retriever_start import load_starting_point
from hf_cocondenser.research.scorers.base import Scorer
from hf_cocondenser.research.scorers.kinds import TRAINED_HERE


@pytest.fixture(scope="session")
def make_scorer(backbone_folder: Path) -> Callable[..., Scorer]:
    """Builds a fresh scorer of a kind, the same one each time."""

    def build(kind: str, **settings: int) -> Scorer:
        start = load_starting_point(
            backbone_folder, RetrieverTrainingArguments(bf16=False, query_length=16, passage_length=32)
        )
        torch.manual_seed(3)
        return TRAINED_HERE[kind].from_retriever(start, **settings).eval()

    return build
