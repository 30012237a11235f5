"""`hf-cocondenser quickstart`: the whole road in ten minutes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hf_cocondenser.cli.command import Command
from hf_cocondenser.errors import InputError
from hf_cocondenser.quickstart.quickstart import DEFAULT_MODEL, run_quickstart


def run(
    output_dir: str = "quickstart",
    minutes: float | None = None,
    model: str = DEFAULT_MODEL,
    from_scratch: bool = False,
    beside: Sequence[str] = (),
    corpus: str | None = None,
    seed: int = 42,
) -> str:
    """Run it and return the report.

    Args:
        output_dir: new folder for retriever, runs, curves and results
        minutes: time for everything (default: 10 on a CPU, 2 on a GPU)
        model: pre-trained weights to adapt: a Hub id, a folder, or what this package carries
        from_scratch: train a tokenizer and a small BERT on the collection alone, instead of --model
        beside: other checkpoints to fine-tune in the same way, as NAME=CHECKPOINT: a twin of plain MLM, say
        corpus: own documents (any source of 'prepare') instead of the installed packages' documentation
        seed: of the training
    """
    if from_scratch and model != DEFAULT_MODEL:
        raise InputError(f"--from-scratch trains no given weights; leave it or --model {model} out.")
    others: dict[str, str] = {}
    for entry in beside:
        name, _, checkpoint = entry.partition("=")
        if not (name and checkpoint):
            raise InputError(f"--beside {entry}: write NAME=CHECKPOINT, such as twin=runs/mlm.")
        if name in others:
            raise InputError(f"--beside {entry}: the name '{name}' is given twice.")
        others[name] = checkpoint
    start = None if from_scratch else model
    run_quickstart(output_dir, minutes=minutes, model=start, beside=others, corpus=corpus, seed=seed)
    return (Path(output_dir) / "README.md").read_text(encoding="utf-8")


COMMAND = Command(
    summary="Adapt, train and evaluate a retriever on the documentation of the installed Python packages, without network.",
    examples="""  hf-cocondenser quickstart
  hf-cocondenser quickstart --minutes 5 --seed 2 --output-dir second
  hf-cocondenser quickstart --corpus documents.jsonl --output-dir mine
  hf-cocondenser quickstart --from-scratch --output-dir scratch
  hf-cocondenser quickstart --model bert-base-uncased --minutes 60 --output-dir bert""",
    run=run,
    show=str,
)
