"""The quickstart's settings; training from scratch was tuned on the collection's development queries (docs/research/tried.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.distributed import training_device


@dataclass(frozen=True)
class Settings:
    """Sizes, lengths, rates and how the time is shared out."""

    texts: int = 15_000  # in the collection at most; encoding them is what evaluation costs
    vocabulary: int = 8192  # of the encoder trained from scratch, as the next four
    layers: int = 2
    hidden: int = 256
    intermediate: int = 512
    head_layers: int = 1  # of its Condenser head; weights that are adapted keep their own, or get the usual one
    late_mlm: bool = False  # whether its last layer predicts masked tokens, too
    shortest_span: int = 6
    span_tokens: int = 62
    query_length: int = 40  # tokens, special tokens included, in fine-tuning and search
    text_length: int = 64
    pretraining_batch: int = 128  # documents per step
    finetuning_batch: int = 128  # queries per step
    negatives: int = 1  # of BM25, per query and step
    chunk_tokens: int = 2048  # padded tokens that go through the model at once; few stay in the processor's cache
    condenser_rate: float = 3e-4
    cocondenser_rate: float = 3e-4
    finetuning_rate: float = 5e-4
    finetuning_share: float = 0.15  # of the time left after preparation, for each fine-tuning
    condenser_share: float = 0.1  # of the time for pre-training; coCondenser gets the rest

    def temperature(self) -> float:
        """What dot products of vectors straight after a LayerNorm are divided by: sqrt(hidden)."""
        return self.hidden**0.5


FROM_SCRATCH = Settings()
# Real weights know their language: lower rates, the whole way in coCondenser, lengths and batches they bear on a CPU.
FROM_WEIGHTS = Settings(
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
FROM_SHIPPED = Settings(
    texts=10_000, cocondenser_rate=2e-4, finetuning_rate=2e-4, finetuning_share=0.1, condenser_share=0.0
)


def settings_for(model: str | Path | None) -> Settings:
    """The settings for a checkpoint to adapt, or for training from scratch (None)."""
    if model is None:
        return FROM_SCRATCH
    return FROM_SHIPPED if checkpoint_path(model) != model else FROM_WEIGHTS


def default_minutes() -> float:
    """Ten minutes on a CPU, two on a GPU."""
    return 10.0 if training_device().type == "cpu" else 2.0
