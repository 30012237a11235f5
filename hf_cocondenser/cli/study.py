"""`hf-cocondenser study`."""

from __future__ import annotations

import sys
from pathlib import Path

from hf_cocondenser.cli.command import Command
from hf_cocondenser.cli.finetune import Recipe
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import DevelopmentConfig, MiningConfig, PairsConfig
from hf_cocondenser.finetuning.recipes import recipe_settings
from hf_cocondenser.research.study.plan import StudyConfig


def run(
    models: list[str],
    config: StudyConfig,
    args: RetrieverTrainingArguments,
    mining: MiningConfig,
    pairs: PairsConfig,
    development: DevelopmentConfig,
    *,
    data: str | None = None,
    recipe: Recipe = "gtr",
    overwrite: bool = False,
) -> None:
    """Run the study.

    Args:
        models: checkpoints, or t5:LAYERSxHIDDEN for T5 encoders that were never trained.
        data: BEIR folder to train on (qrels/train.tsv).
        recipe: a paper's settings as defaults of the training (see finetune --help).
        overwrite: do cells again whose inputs changed.
    """
    from hf_cocondenser.research.study.study import run_study
    from hf_cocondenser.utils.distributed import processes

    if data is None:
        raise InputError("the following arguments are required: --data.")
    options = (config, args, mining, pairs, development)
    report = run_study(models, data, args.named_folder(), *options, overwrite=overwrite)
    if processes().is_main_process:
        sys.stdout.write(f"{report}\nWritten to {Path(args.named_folder()) / 'report.md'}\n")


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
