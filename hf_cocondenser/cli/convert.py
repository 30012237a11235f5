"""`hf-cocondenser convert`: a checkpoint of the original authors' code becomes one of ours."""

from __future__ import annotations

from hf_cocondenser.cli.command import Command
from hf_cocondenser.hub.convert import convert_checkpoint

COMMAND = Command(
    summary="Convert a checkpoint of the original Condenser/coCondenser code (a BERT checkpoint beside a model.pt).",
    examples="""  hf-cocondenser convert co-condenser-wiki --output-dir cocondenser
  hf-cocondenser convert co-condenser-wiki --tokenizer bert-base-uncased --no-late-mlm --output-dir cocondenser""",
    run=convert_checkpoint,
    target="folder",
    show=lambda folder: f"The pre-training checkpoint is in '{folder}'; `pretrain`, `export` and `finetune` take it.",
)
