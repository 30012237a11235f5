"""`hf-cocondenser quickstart`: the whole road in ten minutes."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from hf_cocondenser.cli.command import Command


@dataclass
class QuickstartArguments:
    """What may differ from one run to another."""

    output_dir: str = field(
        default="quickstart", metadata={"help": "new folder for retriever, runs, curves and results"}
    )
    minutes: float | None = field(
        default=None, metadata={"help": "time for everything (default: 10 on a CPU, 2 on a GPU)"}
    )
    model: str | None = field(
        default=None,
        metadata={"help": "adapt these pre-trained weights (Hub id or folder) instead of training from scratch"},
    )
    corpus: str | None = field(
        default=None,
        metadata={"help": "own documents (any source of 'prepare') instead of the installed packages' documentation"},
    )
    seed: int = field(default=42, metadata={"help": "seed of the training"})


def run(args: QuickstartArguments) -> None:
    """Run it and print the report."""
    from hf_cocondenser.quickstart.road import run_quickstart

    run_quickstart(args.output_dir, minutes=args.minutes, model=args.model, corpus=args.corpus, seed=args.seed)
    sys.stdout.write((Path(args.output_dir) / "README.md").read_text(encoding="utf-8"))


COMMAND = Command(
    summary="Train and evaluate a retriever on the documentation of the installed Python packages, without network.",
    examples="""  hf-cocondenser quickstart
  hf-cocondenser quickstart --minutes 5 --seed 2 --output-dir second
  hf-cocondenser quickstart --corpus documents.jsonl --output-dir mine
  hf-cocondenser quickstart --model bert-base-uncased --minutes 60 --output-dir bert""",
    arguments=(QuickstartArguments,),
    run=run,
)
