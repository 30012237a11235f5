"""Arguments of `CondenserTrainer`: transformers' own, the stage, and the gradient cache."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from transformers import TrainingArguments

from hf_cocondenser.errors import InputError

STAGES = ("condenser", "cocondenser")


@dataclass
class CondenserTrainingArguments(TrainingArguments):
    """`TrainingArguments` with the papers' defaults; batch sizes count documents (two spans each in coCondenser)."""

    stage: str = field(
        default="cocondenser",
        metadata={"help": "condenser: masked language modelling only; cocondenser: contrastive loss and MLM"},
    )
    grad_cache: bool = field(
        default=True,
        metadata={"help": "gradient cache: the batch's exact gradient in the memory of one chunk"},
    )
    chunk_tokens: int | None = field(
        default=None,
        metadata={
            "help": "tokens (padding counted) that go through the model at once; a batch is sorted by length first "
            "(default: 1,024 on CPUs, else 16,384)"
        },
    )
    temperature: float | None = field(
        default=None,
        metadata={
            "help": "dot products of spans are divided by it; sqrt(hidden size) for a model trained from scratch "
            "(default: what the coCondenser that is continued was trained with, else 1)"
        },
    )
    normalize: bool | None = field(
        default=None,
        metadata={
            "help": "contrast cosines instead of dot products (default: as the coCondenser that is continued was trained, "
            "else not)"
        },
    )
    per_device_train_batch_size: int = field(default=128, metadata={"help": "documents per device and step"})
    per_device_eval_batch_size: int = field(default=128, metadata={"help": "documents per device in evaluation"})
    learning_rate: float = field(default=1e-4, metadata={"help": "peak learning rate"})
    weight_decay: float = field(default=0.01, metadata={"help": "AdamW's weight decay"})
    warmup_steps: float = field(default=0.1, metadata={"help": "warm-up: a share of the steps below 1, else steps"})
    remove_unused_columns: bool = field(default=False, metadata={"help": "our collator makes the columns"})
    dataloader_drop_last: bool = field(default=True, metadata={"help": "drop the last, smaller batch of an epoch"})
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "DDP: all parameters get a gradient"}
    )
    ddp_broadcast_buffers: bool | None = field(default=False, metadata={"help": "DDP: there are no buffers to send"})
    logging_nan_inf_filter: bool = field(default=False, metadata={"help": "hide NaN losses from the log"})

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise InputError(f"stage is '{self.stage}'; it must be one of {', '.join(STAGES)}.")
        if self.chunk_tokens is not None and self.chunk_tokens < 1:
            raise InputError(f"chunk_tokens is {self.chunk_tokens}; it must be positive.")
        if self.temperature is not None and self.temperature <= 0:
            raise InputError(f"temperature is {self.temperature}; it must be positive.")
        if self.dataloader_persistent_workers:
            raise InputError(
                "dataloader_persistent_workers keeps workers that would draw the first epoch's spans for ever; leave it out."
            )
        if not torch.accelerator.is_available():
            # transformers asks for this flag before it allows bf16 on a machine without accelerator
            self.use_cpu = True
        if self.chunk_tokens is None:
            self.chunk_tokens = 1024 if self.use_cpu else 16_384
        super().__post_init__()


@dataclass
class ModelOptions:
    """How the model is made from what training starts with."""

    n_head_layers: int | None = field(
        default=None,
        metadata={
            "help": "layers of a new Condenser head; 0: plain MLM, no head (default: 2; a Condenser keeps its own)"
        },
    )
    fresh_head: bool = field(
        default=False, metadata={"help": "put a new Condenser head on a Condenser checkpoint too, instead of its own"}
    )
    skip_from: int | None = field(default=None, metadata={"help": "early layers of a new head (default: half of all)"})
    late_mlm: bool | None = field(
        default=None,
        metadata={
            "help": "also predict masked tokens from the last layer, or with --no-late-mlm not (default: do; a Condenser "
            "goes on as it was)"
        },
    )
    dropout: float | None = field(default=None, metadata={"help": "dropout everywhere (default: the model's own)"})
    attn_implementation: str | None = field(
        default=None,
        metadata={"help": "eager, sdpa or flash_attention_2 (default: eager for bf16 on CPUs, else transformers')"},
    )
    max_length: int = field(default=128, metadata={"help": "tokens of a span, special tokens included"})
    mlm_probability: float = field(default=0.15, metadata={"help": "share of tokens to predict"})
