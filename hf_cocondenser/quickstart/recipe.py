"""The quickstart's settings; training from scratch was tuned on the collection's development queries (docs/research/tried.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.distributed import training_device


@dataclass(frozen=True)
class Recipe:
    """Sizes, lengths, rates and how the time is shared out.

    Attributes:
        texts: texts in the collection at most; encoding them is what evaluation costs.
        vocabulary, layers, hidden, intermediate: the encoder trained from scratch.
        head_layers, late_mlm: its Condenser head, and whether the last layer predicts masked tokens, too; weights that
            are adapted keep their own, or get the usual one.
        shortest_span, span_tokens: least and greatest length of a span.
        query_length, text_length: tokens, special tokens included, in fine-tuning and search.
        pretraining_batch: documents per step; finetuning_batch: queries per step.
        negatives: BM25 negatives per query and step.
        chunk_tokens: padded tokens that go through the model at once, sorted by length; small ones stay in the cache.
        condenser_rate, cocondenser_rate, finetuning_rate: peak learning rates.
        finetuning_share: of the time left after preparation, for each fine-tuning.
        condenser_share: of the time for pre-training; coCondenser gets the rest.
    """

    texts: int = 15_000
    vocabulary: int = 8192
    layers: int = 2
    hidden: int = 256
    intermediate: int = 512
    head_layers: int = 1
    late_mlm: bool = False
    shortest_span: int = 6
    span_tokens: int = 62
    query_length: int = 40
    text_length: int = 64
    pretraining_batch: int = 128
    finetuning_batch: int = 128
    negatives: int = 1
    chunk_tokens: int = 2048
    condenser_rate: float = 3e-4
    cocondenser_rate: float = 3e-4
    finetuning_rate: float = 5e-4
    finetuning_share: float = 0.15
    condenser_share: float = 0.1

    def temperature(self) -> float:
        """What dot products of vectors straight after a LayerNorm are divided by: sqrt(hidden)."""
        return self.hidden**0.5


FROM_SCRATCH = Recipe()
# Real weights know their language: lower rates, the whole way in coCondenser, lengths and batches they bear on a CPU.
FROM_WEIGHTS = Recipe(
    texts=5_000,
    pretraining_batch=32,
    finetuning_batch=32,
    cocondenser_rate=5e-5,
    finetuning_rate=5e-5,
    finetuning_share=0.1,
    condenser_share=0.0,
)
# A shipped checkpoint is as small as what is trained from scratch, but there are twice as many retrievers to measure. Its
# fine-tuning rate was chosen on SQuAD's development queries (examples/cocondenser-tiny); that of adapting is the same.
FROM_SHIPPED = Recipe(
    texts=10_000, cocondenser_rate=2e-4, finetuning_rate=2e-4, finetuning_share=0.1, condenser_share=0.0
)


def recipe_for(model: str | Path | None) -> Recipe:
    """The settings for a checkpoint to adapt, or for training from scratch (None)."""
    if model is None:
        return FROM_SCRATCH
    return FROM_SHIPPED if checkpoint_path(model) != model else FROM_WEIGHTS


def default_minutes() -> float:
    """Ten minutes on a CPU, two on a GPU."""
    return 10.0 if training_device().type == "cpu" else 2.0
