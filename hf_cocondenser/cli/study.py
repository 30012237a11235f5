"""`hf-cocondenser study`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hf_cocondenser.cli.command import Command
from hf_cocondenser.finetuning.config import FinetuneConfig, MiningConfig, PairsConfig
from hf_cocondenser.finetuning.recipes import recipe_settings
from hf_cocondenser.research.study.plan import StudyConfig


@dataclass
class StudyArguments:
    """Where things are."""

    data: str = field(metadata={"help": "BEIR folder to train on (qrels/train.tsv)"})
    output_dir: str = field(metadata={"help": "folder for tables, plots and the trained cells"})
    recipe: Literal["cocondenser", "gtr"] = field(default="gtr", metadata={"help": "defaults of the training"})
    overwrite: bool = field(default=False, metadata={"help": "do cells again whose inputs changed"})


def run(
    models: list[str],
    arguments: StudyArguments,
    config: StudyConfig,
    finetuning: FinetuneConfig,
    mining: MiningConfig,
    pairs: PairsConfig,
) -> None:
    """Run the study.

    Args:
        models: checkpoints, or t5:LAYERSxHIDDEN for T5 encoders that were never trained.
    """
    from hf_cocondenser.research.study.study import run_study
    from hf_cocondenser.utils.distributed import processes

    report = run_study(
        models, arguments.data, arguments.output_dir, config, finetuning, mining, pairs, overwrite=arguments.overwrite
    )
    if processes().is_main_process:
        sys.stdout.write(f"{report}\nWritten to {Path(arguments.output_dir) / 'report.md'}\n")


COMMAND = Command(
    summary="Train several models on all and on shares of the data, with and without either stage, and measure them in"
    " and out of domain: scale, data, stages, domains and lengths, each as a table and a plot.",
    examples="""  hf-cocondenser study t5-small t5-base t5-large --data data/msmarco --pairs gooaq.jsonl --output-dir study \\
      --evaluate-on data/msmarco data/scifact data/nfcorpus
  hf-cocondenser study t5:2x64 t5:4x256 --data data/squad --output-dir small --config examples/gtr/study.yaml
The same command again goes on where it stopped; every finished cell is kept.""",
    run=run,
    target="models",
    recipes=recipe_settings,
)
