"""`hf-cocondenser study`."""

from __future__ import annotations

import sys
from dataclasses import MISSING, dataclass
from pathlib import Path

from hf_cocondenser.cli.command import Command
from hf_cocondenser.cli.finetune import Recipe
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import DevelopmentConfig, MiningConfig, PairsConfig
from hf_cocondenser.finetuning.recipes import recipe_settings
from hf_cocondenser.research.study.plan import StudyConfig
from hf_cocondenser.utils.options import option


@dataclass
class StudyArguments:
    """Where things are."""

    data: str = option(MISSING, "BEIR folder to train on (qrels/train.tsv)")
    recipe: Recipe = option("gtr", "a paper's settings as defaults of the training")
    overwrite: bool = option(False, "do cells again whose inputs changed")


def run(
    models: list[str],
    arguments: StudyArguments,
    config: StudyConfig,
    args: RetrieverTrainingArguments,
    mining: MiningConfig,
    pairs: PairsConfig,
    development: DevelopmentConfig,
) -> None:
    """Run the study."""
    from hf_cocondenser.research.study.study import run_study
    from hf_cocondenser.utils.steps import processes

    output_dir = args.named_folder()
    report = run_study(
        models, arguments.data, output_dir, config, args, mining, pairs, development, overwrite=arguments.overwrite
    )
    if processes().is_main_process:
        sys.stdout.write(f"{report}\nWritten to {Path(output_dir) / 'report.md'}\n")


COMMAND = Command(
    summary="Train several models on all and on shares of the data, with and without either stage, and measure them in"
    " and out of domain: scale, data, stages, domains and lengths, each as a table and a plot.",
    examples="""  hf-cocondenser study t5-small t5-base t5-large --data data/msmarco --pairs gooaq.jsonl --output-dir study \\
      --evaluate-on data/msmarco data/scifact data/nfcorpus
  hf-cocondenser study t5:2x64 t5:4x256 --data data/squad --output-dir small --config examples/gtr/study.yaml
The same command again goes on where it stopped; every finished cell is kept.""",
    arguments=(StudyArguments, StudyConfig, RetrieverTrainingArguments, MiningConfig, PairsConfig, DevelopmentConfig),
    run=run,
    target="models",
    target_help="checkpoints, or t5:LAYERSxHIDDEN for T5 encoders that were never trained",
    many_targets=True,
    recipes=recipe_settings,
    recipe="gtr",
)
