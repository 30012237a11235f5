"""`finetune`: a stage on pairs (where wanted), BM25 negatives, round 1, mined negatives, round 2; every step resumable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_cocondenser.data.reading.columns import Columns
from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.measures import evaluate_run
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.before_rounds import begin
from hf_cocondenser.finetuning.config import DevelopmentConfig, MiningConfig, PairsConfig, settings
from hf_cocondenser.finetuning.fresh_t5 import is_fresh_t5
from hf_cocondenser.finetuning.inputs import Model, read_training_data, written_model
from hf_cocondenser.finetuning.lora import require_peft
from hf_cocondenser.finetuning.publish_retriever import publish
from hf_cocondenser.finetuning.recipes import FinetuneOptions, finetune_options
from hf_cocondenser.finetuning.rounds import FinetuningJob
from hf_cocondenser.finetuning.t5_estimate import log_estimates
from hf_cocondenser.finetuning.training import RETRIEVER
from hf_cocondenser.hub.card import Result
from hf_cocondenser.retrieval.collections.collection import RetrievalData, data_hashes
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.distributed import alone_in_its_folder, processes, wait_for_everyone
from hf_cocondenser.utils.files import absolute_if_there
from hf_cocondenser.utils.loading import require_within_reach
from hf_cocondenser.utils.steps import STEPS, make_steps

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@alone_in_its_folder
def finetune(
    model: Model,
    data: str | Path | RetrievalData | Sequence[str | Path | RetrievalData] | None,
    output_dir: str | Path,
    args: RetrieverTrainingArguments | None = None,
    mining: MiningConfig | None = None,
    pairs: PairsConfig | Sequence[str] | None = None,
    development: DevelopmentConfig | None = None,
    *,
    dev: str | Path | RetrievalData | None = None,
    columns: Columns | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    recipe: str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Fine-tune a retriever, after a stage on pairs where there are any; `output_dir` becomes the retriever.

    Its `steps/` hold the way there. The fine-tuning begins with the weights of the stage on pairs and a new optimizer.
    Called again after a kill it goes on where it stopped; a step whose inputs are unchanged is not done again. The
    test split is never read.

    Args:
        model: a sentence-transformers model, a plain encoder, a Condenser pre-training checkpoint, by name or as an
            object, or `t5:LAYERSxHIDDEN`: a T5 encoder that was never trained and begins as a latent semantic model of the
            corpus (of the pairs, where there is none), with a tokenizer of its own.
        data: a BEIR folder with training judgements, or such data in memory; one or several (their corpora are then
            searched as one); None where only pairs are trained on.
        output_dir: where the retriever goes.
        args: the training; its own output folder is not used.
        mining: rounds and hard negatives.
        pairs: the stage on pairs, and which stages there are; or the sources of pairs alone.
        development: the queries held out, and what chooses the weights.
        dev: development queries and judgements; by default the data's development split, or held-out training queries.
        columns: those of documents and queries that are named otherwise than usual.
        tokenizer: of a transformers model that is given as an object.
        recipe: `cocondenser`, `gtr` or `rocketqa`: a paper's settings, instead of the configurations.
        overwrite: do steps again whose inputs changed.
        options: single fields of the configurations, by name, instead of these; they win over the recipe's.

    Returns:
        The summary that `finetuning.json` holds: settings, counts, and what each step recorded.

    Raises:
        InputError: model, data or an option cannot be used, or a step was done before with other inputs.

    Example:
        finetune("sentence-transformers/all-MiniLM-L6-v2", "data/scifact", "retriever", rounds=1, learning_rate=1e-5)
    """
    args, mining, stage, development = chosen_options((args, mining, pairs, development), recipe, options)
    _require_usable(model, args, mining, development)
    if data is None and stage.stages != "pretrain":
        raise InputError(
            "There is no data to fine-tune on; name a data set, or train on pairs only (stages pretrain)."
        )
    if isinstance(model, str | Path) and processes().is_main_process:
        log_estimates(checkpoint_path(model), args)
    train, held_out = None, None
    if data is not None:
        train, held_out = read_training_data(data, dev, args, development, columns)
    output_dir = Path(output_dir)
    steps = output_dir / STEPS
    make_steps(output_dir, overwrite)
    checkpoint = written_model(model, tokenizer, steps)
    start, manifests = begin(checkpoint, train, held_out, steps, args, stage, development, overwrite)
    if train is not None and stage.stages != "pretrain":
        manifests |= FinetuningJob(start, train, held_out, steps, args, mining, development, overwrite).run()
    name = train and {"name": train.name, "training_queries": len(train.queries), "hashes": data_hashes(train)}
    summary = {
        "checkpoint": absolute_if_there(checkpoint),
        "data": name if stage.stages != "pretrain" else None,
        "dev": held_out and {"queries": len(held_out.queries), "documents": len(held_out.corpus)},
        "finetuning": settings(args),
        "mining": settings(mining),
        "development": settings(development),
        "pairs": settings(stage) if stage.wanted else None,
        "steps": {step: manifest["result"] for step, manifest in manifests.items()},
    }
    if processes().is_main_process:
        last, manifest = list(manifests.items())[-1]
        result = None
        if held_out is not None:
            named = f"{held_out.name} (development queries)"
            result = Result(named, manifest["result"]["dev"], queries=len(held_out.queries))
        publish(output_dir, steps / last / RETRIEVER, summary, result)
    wait_for_everyone()
    return summary


def chosen_options(given: Sequence[Any], recipe: str | None, options: dict[str, Any]) -> FinetuneOptions:
    """The configurations that are given, or those that a recipe and single options make.

    Raises:
        InputError: both are given, or an option is unknown or out of its range.
    """
    args, mining, pairs, development = given
    if pairs is not None and not isinstance(pairs, PairsConfig):
        options, pairs = {**options, "pairs": [pairs] if isinstance(pairs, str) else list(pairs)}, None
    given = (args, mining, pairs, development)
    if (recipe or options) and any(config is not None for config in given):
        named = "a recipe" if recipe else f"'{next(iter(options))}'"
        raise InputError(f"Give configurations or {named}, not both: every field of theirs can be named by itself.")
    made = finetune_options(recipe, **options)
    return FinetuneOptions._make(made[i] if config is None else config for i, config in enumerate(given))


def _require_usable(
    model: Model, args: RetrieverTrainingArguments, mining: MiningConfig, development: DevelopmentConfig
) -> None:
    """Refuse what would fail hours later."""
    if args.lora_rank:
        require_peft()
    if isinstance(model, str | Path) and not is_fresh_t5(model):
        require_within_reach("The checkpoint", model)
    if mining.cross_encoder and not mining.trains_cross_encoder:
        require_within_reach("The cross-encoder", mining.cross_encoder)
    if mining.cross_encoder_start:
        require_within_reach("The cross-encoder's starting point", mining.cross_encoder_start)
    evaluate_run({"query": {"document": 1}}, {}, [development.dev_measure])  # an unknown measure raises
