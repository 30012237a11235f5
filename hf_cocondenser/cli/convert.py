"""`hf-cocondenser convert`: a checkpoint of the original authors' code becomes one of ours."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from hf_cocondenser.cli.command import Command

logger = logging.getLogger(__name__)


@dataclass
class ConvertArguments:
    """Flags of `convert`."""

    output_dir: str = field(metadata={"help": "folder to write the pre-training checkpoint to"})
    tokenizer: str | None = field(
        default=None, metadata={"help": "folder or Hub name of the tokenizer (default: the checkpoint's own)"}
    )
    skip_from: int = field(default=6, metadata={"help": "early layers the head was trained with; never stored there"})
    late_mlm: bool = field(default=True, metadata={"help": "it was trained with the late MLM; never stored there"})
    overwrite: bool = field(default=False, metadata={"help": "replace the output folder"})


def run(target: str, args: ConvertArguments) -> None:
    """Convert `target`."""
    from hf_cocondenser.hub.convert import convert_checkpoint

    folder = convert_checkpoint(
        target,
        args.output_dir,
        tokenizer=args.tokenizer,
        skip_from=args.skip_from,
        late_mlm=args.late_mlm,
        overwrite=args.overwrite,
    )
    logger.info("The pre-training checkpoint is in '%s'; `pretrain`, `export` and `finetune` take it.", folder)


COMMAND = Command(
    summary="Convert a checkpoint of the original Condenser/coCondenser code (a BERT checkpoint beside a model.pt).",
    examples="""  hf-cocondenser convert co-condenser-wiki --output-dir cocondenser
  hf-cocondenser convert co-condenser-wiki --tokenizer bert-base-uncased --no-late-mlm --output-dir cocondenser""",
    arguments=(ConvertArguments,),
    run=run,
    target="folder",
    target_help="folder with config.json, pytorch_model.bin or model.safetensors, and model.pt",
)
