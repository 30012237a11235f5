"""`hf-cocondenser pretrain`: one stage of pre-training, on one process or under torchrun."""

from __future__ import annotations

from hf_cocondenser.cli.command import Command
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments, ModelOptions
from hf_cocondenser.pretraining.pretrain import pretrain


def run(
    model: str, spans: str, options: ModelOptions, args: CondenserTrainingArguments, *, resume: bool = False
) -> None:
    """Train one stage.

    Args:
        model: Condenser checkpoint to continue, other encoder checkpoint to start from, JSON configuration of a fresh
            encoder, or bert:LAYERSxHIDDEN
        spans: folder that 'hf-cocondenser prepare' wrote
        resume: go on with a run whose settings changed; with the same ones it goes on anyway
    """
    pretrain(model, spans, args, options, resume=resume).leave_process_group()


COMMAND = Command(
    summary="Pre-train with the Condenser loss (masked language modelling through the late CLS) or, with "
    "--stage cocondenser, also the contrastive loss between spans of a document.",
    examples="""  hf-cocondenser pretrain bert-base-uncased --spans spans --stage condenser --output-dir condenser
  hf-cocondenser pretrain condenser --spans spans --stage cocondenser --output-dir cocondenser \\
      --per-device-train-batch-size 1024 --num-train-epochs 8 --bf16
  hf-cocondenser pretrain bert:4x256 --spans spans --stage condenser --dropout 0 --output-dir small
  torchrun --nproc-per-node 4 -m hf_cocondenser pretrain condenser --spans spans --output-dir cocondenser""",
    run=run,
    target="model",
    first=(
        "output_dir",
        "stage",
        "per_device_train_batch_size",
        "num_train_epochs",
        "max_steps",
        "learning_rate",
        "bf16",
    ),
)
