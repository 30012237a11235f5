"""Arguments of `CondenserTrainer`: transformers' own, the stage, and the gradient cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from transformers import TrainingArguments

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.distributed import meet
from hf_cocondenser.utils.options import (
    Bounds,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ProperShare,
    Seed,
    check,
    option,
)

PretrainingStage = Literal["condenser", "cocondenser"]


@dataclass
class CondenserTrainingArguments(TrainingArguments):
    """transformers' `TrainingArguments` with a few of our own and the papers' defaults.

    Batch sizes count documents, of which coCondenser pre-training takes two spans each.

    Args:
        stage: `condenser` trains masked language modelling alone, `cocondenser` (the default) the contrastive loss too.
        grad_cache: use the gradient cache: the exact gradient of a large batch in the memory of one chunk. Without it,
            which is faster, the graphs of the whole batch must fit.
        chunk_tokens: tokens, padding counted, that go through the model at once; 1,024 on CPUs and 16,384 elsewhere by
            default. It changes memory and speed, not the gradient.
        temperature: dot products of span vectors are divided by it. By default what the coCondenser that is continued was
            trained with, else 1; a model trained from scratch needs about sqrt(hidden size).
        normalize: contrast cosines instead of dot products. By default what the coCondenser that is continued was trained
            with, else false.
        per_device_train_batch_size: documents per device and step; 128 by default.
        per_device_eval_batch_size: documents per device in evaluation; 128 by default.
        learning_rate: 1e-4 at its peak by default.
        weight_decay: 0.01 by default.
        warmup_steps: steps with a rising learning rate, or their share below 1; 0.1 by default.
        dataloader_drop_last: true by default, so that every batch has the same number of negatives.
        **kwargs: all others are transformers' own, with its defaults.

    Raises:
        InputError: a value is out of its range, or asks for what these losses cannot do.

    Example:
        >>> from hf_cocondenser import CondenserTrainingArguments
        >>> CondenserTrainingArguments("out", stage="condenser", max_steps=100, use_cpu=True).learning_rate
        0.0001
    """

    stage: PretrainingStage = option(
        "cocondenser", "condenser: masked language modelling only; cocondenser: contrastive loss and MLM"
    )
    grad_cache: bool = option(True, "gradient cache: the batch's exact gradient in the memory of one chunk")
    chunk_tokens: PositiveInt | None = option(
        None,
        "tokens (padding counted) that go through the model at once; a batch is sorted by length first "
        "(default: 1,024 on CPUs, else 16,384)",
    )
    temperature: PositiveFloat | None = option(
        None,
        "dot products of spans are divided by it; sqrt(hidden size) for a model trained from scratch "
        "(default: what the coCondenser that is continued was trained with, else 1)",
    )
    normalize: bool | None = option(
        None,
        "contrast cosines instead of dot products (default: as the coCondenser that is continued was trained, else not)",
    )
    per_device_train_batch_size: PositiveInt = option(128, "documents per device and step")
    per_device_eval_batch_size: PositiveInt = option(128, "documents per device in evaluation")
    gradient_accumulation_steps: PositiveInt = option(1, "batches whose gradients are added up for a step")
    learning_rate: PositiveFloat = option(1e-4, "peak learning rate")
    weight_decay: NonNegativeFloat = option(0.01, "AdamW's weight decay")
    warmup_steps: NonNegativeFloat = option(0.1, "warm-up: a share of the steps below 1, else steps")
    seed: Seed = option(42, "of the spans' drawing, the masks, and all other random numbers")
    remove_unused_columns: bool = option(False, "our collator makes the columns")
    dataloader_drop_last: bool = option(True, "drop the last, smaller batch of an epoch")
    dataloader_num_workers: NonNegativeInt = option(0, "processes that draw and mask spans")
    ddp_find_unused_parameters: bool | None = option(False, "DDP: all parameters get a gradient")
    ddp_broadcast_buffers: bool | None = option(False, "DDP: there are no buffers to send")
    logging_nan_inf_filter: bool = option(False, "hide NaN losses from the log")

    def __post_init__(self) -> None:
        check(self)
        if self.label_smoothing_factor:
            raise InputError(
                f"label_smoothing_factor is {self.label_smoothing_factor}, which the losses do not have; leave it out."
            )
        if self.remove_unused_columns:
            raise InputError(
                "remove_unused_columns would take the spans away, which the collator needs; leave it out."
            )
        if self.train_sampling_strategy != "random":
            raise InputError(
                f"train_sampling_strategy is {self.train_sampling_strategy}; batches are drawn at random, leave it out."
            )
        if self.max_steps <= 0 and self.num_train_epochs <= 0:
            raise InputError(f"num_train_epochs is {self.num_train_epochs}; it must be positive, or give max_steps.")
        if self.dataloader_persistent_workers:
            raise InputError(
                "dataloader_persistent_workers keeps workers that would draw the first epoch's spans for ever; leave it out."
            )
        if not torch.accelerator.is_available():
            # transformers asks for this flag before it allows bf16 on a machine without accelerator
            self.use_cpu = True
        if self.chunk_tokens is None:
            self.chunk_tokens = 1024 if self.use_cpu else 16_384
        meet(self.ddp_timeout, self.use_cpu)
        super().__post_init__()


@dataclass
class ModelOptions:
    """How the model is made from what training starts with.

    Args:
        n_head_layers: layers of a new Condenser head; 0 trains a plain masked language model. 2 by default; a Condenser
            keeps its own.
        fresh_head: put a new head on a Condenser too.
        skip_from: early layers of a new head; half of all by default.
        late_mlm: also predict the masked tokens from the last layer; true by default, and a Condenser goes on as it was.
        dropout: everywhere in the model; its own by default.
        attn_implementation: `eager`, `sdpa` or `flash_attention_2`.
        max_length: tokens of a span, special tokens included.
        mlm_probability: share of the tokens that is predicted.

    Raises:
        InputError: a value is out of its range.
    """

    n_head_layers: NonNegativeInt | None = option(
        None, "layers of a new Condenser head; 0: plain MLM, no head (default: 2; a Condenser keeps its own)"
    )
    fresh_head: bool = option(False, "put a new Condenser head on a Condenser checkpoint too, instead of its own")
    skip_from: int | None = option(None, "early layers of a new head (default: half of all)")
    late_mlm: bool | None = option(
        None,
        "also predict masked tokens from the last layer, or with --no-late-mlm not (default: do; a Condenser goes on as it "
        "was)",
    )
    dropout: ProperShare | None = option(None, "dropout everywhere (default: the model's own)")
    attn_implementation: str | None = option(
        None, "eager, sdpa or flash_attention_2 (default: eager for bf16 on CPUs, else transformers')"
    )
    max_length: Annotated[int, Bounds(at_least=3)] = option(128, "tokens of a span, special tokens included")
    mlm_probability: Annotated[float, Bounds(above=0, below=1)] = option(0.15, "share of tokens to predict")

    def __post_init__(self) -> None:
        check(self)
