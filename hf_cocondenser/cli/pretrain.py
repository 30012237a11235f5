"""`hf-cocondenser pretrain`: one stage of pre-training, on one process or under torchrun."""

from __future__ import annotations

from dataclasses import dataclass, field

from hf_cocondenser.cli.command import Command
from hf_cocondenser.errors import InputError
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments, ModelOptions
from hf_cocondenser.pretraining.pretrain import pretrain


@dataclass
class PretrainArguments(ModelOptions):
    """What `pretrain` needs beside transformers' training arguments."""

    spans: str | None = field(default=None, metadata={"help": "folder that 'hf-cocondenser prepare' wrote"})
    resume: bool = field(
        default=False,
        metadata={"help": "go on with a run whose settings changed; with the same ones it goes on anyway"},
    )


def run(start: str, options: PretrainArguments, args: CondenserTrainingArguments) -> None:
    """Train one stage."""
    if options.spans is None:
        raise InputError("--spans is missing: name the folder that 'hf-cocondenser prepare' wrote.")
    trainer = pretrain(start, options.spans, args, options, resume=options.resume)
    trainer.leave_process_group()


COMMAND = Command(
    summary="Pre-train with the Condenser loss (masked language modelling through the late CLS) or, with "
    "--stage cocondenser, also the contrastive loss between spans of a document.",
    examples="""  hf-cocondenser pretrain bert-base-uncased --spans spans --stage condenser --output-dir condenser
  hf-cocondenser pretrain condenser --spans spans --stage cocondenser --output-dir cocondenser \\
      --per-device-train-batch-size 1024 --num-train-epochs 8 --bf16
  hf-cocondenser pretrain bert:4x256 --spans spans --stage condenser --dropout 0 --output-dir small
  torchrun --nproc-per-node 4 -m hf_cocondenser pretrain condenser --spans spans --output-dir cocondenser""",
    arguments=(PretrainArguments, CondenserTrainingArguments),
    run=run,
    target="model",
    target_help="Condenser checkpoint to continue, other encoder checkpoint to start from, JSON configuration of a "
    "fresh encoder, or bert:LAYERSxHIDDEN",
)
