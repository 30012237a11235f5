"""Which cross-encoder judges mined negatives, and how one is trained where none is given (RocketQA, arXiv 2010.08191)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hf_cocondenser.errors import InputError

TRAIN = "train"
"""Instead of a cross-encoder's name: train one."""


def option(default: Any, text: str) -> Any:
    """A field of a configuration with its help text."""
    return field(default=default, metadata={"help": text})


@dataclass
class JudgeConfig:
    """Which cross-encoder judges, how far it looks, and how one is trained where none is given.

    Raises:
        InputError: a value is out of its range.
    """

    cross_encoder: str | None = option(
        None, "cross-encoder that judges mined negatives (RocketQA's denoising); train: one is trained for it"
    )
    denoise_depth: int | None = option(
        None,
        "candidates per query that the cross-encoder judges; where it leaves too few, others behind these fill up, at"
        " random and unjudged (RocketQA: 50; default: it judges all, and nothing fills up)",
    )
    cross_encoder_start: str | None = option(
        None, "encoder that the cross-encoder is trained from (default: what the retriever starts from)"
    )
    cross_encoder_epochs: float = option(2.0, "training the cross-encoder: passes over its pairs")
    cross_encoder_learning_rate: float = option(2e-5, "training the cross-encoder: peak learning rate")
    cross_encoder_batch_size: int = option(64, "training the cross-encoder: pairs per device and step")
    cross_encoder_length: int = option(160, "training the cross-encoder: longest pair in tokens")
    cross_encoder_depth: int = option(1000, "its negatives are drawn at random from round 1's first so many documents")
    cross_encoder_negatives: int = option(4, "training the cross-encoder: negatives per query")

    def __post_init__(self) -> None:
        positive = ("epochs", "learning_rate", "batch_size", "depth", "negatives")
        for name in (f"cross_encoder_{part}" for part in positive):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be above 0.")
        if self.cross_encoder_length < 5:
            raise InputError(f"cross_encoder_length is {self.cross_encoder_length}; a pair needs 5 tokens or more.")
        if self.cross_encoder_start and not self.trains_judge:
            raise InputError(
                "cross_encoder_start is what a cross-encoder is trained from; set cross_encoder to 'train'."
            )
        if self.denoise_depth is not None and self.denoise_depth < 1:
            raise InputError(f"denoise_depth is {self.denoise_depth}; it must be 1 or more.")
        if self.denoise_depth is not None and not self.cross_encoder:
            raise InputError("denoise_depth says what a cross-encoder judges; name a cross_encoder, or 'train'.")

    @property
    def trains_judge(self) -> bool:
        """Whether a cross-encoder is trained."""
        return self.cross_encoder == TRAIN


JUDGE_TRAINING = tuple(name for name in JudgeConfig.__dataclass_fields__ if name.startswith("cross_encoder_"))
"""The options that matter only where a cross-encoder is trained."""
