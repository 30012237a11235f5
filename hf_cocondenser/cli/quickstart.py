"""`hf-cocondenser quickstart`: the whole road in ten minutes."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from hf_cocondenser.cli.command import Command
from hf_cocondenser.errors import InputError


@dataclass
class QuickstartArguments:
    """What may differ from one run to another."""

    output_dir: str = field(
        default="quickstart", metadata={"help": "new folder for retriever, runs, curves and results"}
    )
    minutes: float | None = field(
        default=None, metadata={"help": "time for everything (default: 10 on a CPU, 2 on a GPU)"}
    )
    model: str = field(
        default="cocondenser-tiny",
        metadata={"help": "pre-trained weights to adapt: a Hub id, a folder, or what this package carries"},
    )
    from_scratch: bool = field(
        default=False,
        metadata={"help": "train a tokenizer and a small BERT on the collection alone, instead of --model"},
    )
    beside: list[str] = field(
        default_factory=list,
        metadata={
            "help": "other checkpoints to fine-tune in the same way, as NAME=CHECKPOINT: a twin of plain MLM, say"
        },
    )
    corpus: str | None = field(
        default=None,
        metadata={"help": "own documents (any source of 'prepare') instead of the installed packages' documentation"},
    )
    seed: int = field(default=42, metadata={"help": "seed of the training"})


def run(args: QuickstartArguments) -> None:
    """Run it and print the report."""
    from hf_cocondenser.quickstart.road import DEFAULT_MODEL, run_quickstart

    if args.from_scratch and args.model != DEFAULT_MODEL:
        raise InputError(f"--from-scratch trains no given weights; leave it or --model {args.model} out.")
    beside = {}
    for entry in args.beside:
        name, equals, checkpoint = entry.partition("=")
        if not (name and equals and checkpoint):
            raise InputError(f"--beside {entry}: write NAME=CHECKPOINT, such as twin=runs/mlm.")
        if name in beside:
            raise InputError(f"--beside {entry}: the name '{name}' is given twice.")
        beside[name] = checkpoint
    run_quickstart(
        args.output_dir,
        minutes=args.minutes,
        model=None if args.from_scratch else args.model,
        beside=beside,
        corpus=args.corpus,
        seed=args.seed,
    )
    sys.stdout.write((Path(args.output_dir) / "README.md").read_text(encoding="utf-8"))


COMMAND = Command(
    summary="Adapt, train and evaluate a retriever on the documentation of the installed Python packages, without network.",
    examples="""  hf-cocondenser quickstart
  hf-cocondenser quickstart --minutes 5 --seed 2 --output-dir second
  hf-cocondenser quickstart --corpus documents.jsonl --output-dir mine
  hf-cocondenser quickstart --from-scratch --output-dir scratch
  hf-cocondenser quickstart --model bert-base-uncased --minutes 60 --output-dir bert""",
    arguments=(QuickstartArguments,),
    run=run,
)
