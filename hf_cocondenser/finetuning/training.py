"""One round of training: a model, a training set and arguments in, the best retriever out."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import EarlyStoppingCallback, ProgressCallback, TrainerCallback
from transformers.trainer_utils import SaveStrategy

from hf_cocondenser.backbones import is_t5
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.choice import choose_weights, weights_of
from hf_cocondenser.finetuning.config import DevelopmentConfig
from hf_cocondenser.finetuning.dev import DevEvaluator
from hf_cocondenser.finetuning.lora import add_lora, merge_lora
from hf_cocondenser.finetuning.loss import MaskedContrastiveLoss
from hf_cocondenser.finetuning.retriever_start import freeze_unused
from hf_cocondenser.finetuning.temperature import auto_temperature
from hf_cocondenser.finetuning.tokens import TokenStore
from hf_cocondenser.finetuning.trainer import RetrieverTrainer
from hf_cocondenser.finetuning.training_set import TrainingCollator, TrainingSet
from hf_cocondenser.hub.layout import save_portable
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.retriever import fingerprint, transformers_of
from hf_cocondenser.utils.distributed import on_first
from hf_cocondenser.utils.files import write_json
from hf_cocondenser.utils.progress import fit_to_output
from hf_cocondenser.utils.steps import SCRATCH
from hf_cocondenser.utils.trainer_checkpoints import last_checkpoint

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

RETRIEVER = "retriever"
DEV_VALUES = "dev_values.json"
_EPOCHS = 3
_MOST_EPOCHS = 80  # what Tevatron's SciFact example takes for 809 queries
_STEPS_MEASURED, _STEPS_UNMEASURED = 1000, 300  # where the length is left open and the queries are few


def train_round(
    model: SentenceTransformer,
    training_set: TrainingSet,
    dev: RetrievalData | None,
    folder: Path,
    args: RetrieverTrainingArguments,
    development: DevelopmentConfig | None = None,
    schedule: TrainerCallback | None = None,
) -> dict[str, Any]:
    """Train `model` in `folder`, going on from the last checkpoint there, and write the best one to `folder/retriever`.

    Args:
        model: the start; its weights are trained in place.
        training_set: what to train on.
        dev: what chooses the weights; None keeps the last ones.
        folder: where to.
        args: the training arguments; their output folder is not used.
        development: how they are chosen.
        schedule: sets the learning rate and the end of the training and shows its progress, in the trainer's stead.

    Returns:
        What is worth recording: temperature, steps, the development measures of the chosen checkpoint, the weights' hash.

    Raises:
        InputError: there are fewer training queries than a batch over all processes needs, or the precision does not
            suit the model.
    """
    development = development or DevelopmentConfig()
    torch.manual_seed(args.seed)
    start = weights_of(model) if development.keep_best_of == "interpolations" else {}
    temperature = same_everywhere(args, lambda: auto_temperature(model, training_set))
    loss = prepare_training(model, temperature, args)
    collator = TrainingCollator(
        training_set,
        TokenStore(model, training_set.queries, "query"),
        TokenStore(model, training_set.passages, "document"),
    )
    evaluator = DevEvaluator(dev, development.dev_measure) if dev is not None and args.measures else None
    arguments = round_arguments(args, folder / SCRATCH, len(training_set), evaluator)
    arguments.load_best_model_at_end = evaluator is not None and development.keep_best_of != "last"
    logger.info(
        "%s training queries, %s distinct passages, temperature %g.",
        f"{len(training_set):,}",
        f"{len(training_set.passages):,}",
        temperature,
    )
    checkpoint = last_checkpoint(folder / SCRATCH, with_best=arguments.load_best_model_at_end)
    arguments.eval_on_start = evaluator is not None and checkpoint is None
    trainer = RetrieverTrainer(model, arguments, training_set, collator, loss, evaluator, optimizer(args))
    if schedule is not None:
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(schedule)
    else:
        fit_to_output(trainer)
    if args.length_is_open and arguments.load_best_model_at_end:
        trainer.add_callback(EarlyStoppingCallback(development.patience))
    trainer.train(resume_from_checkpoint=checkpoint)
    result: dict[str, Any] = {
        "temperature": temperature,
        "steps": trainer.state.global_step,
        "training_queries": len(training_set),
        "passages": len(training_set.passages),
    }
    if trainer.is_world_process_zero():
        if args.lora_rank:
            merge_lora(model)
        if evaluator is not None:
            result |= _chosen(trainer, evaluator)
            if development.keep_best_of == "interpolations":
                result |= choose_weights(model, start, evaluator)
                write_json(folder / DEV_VALUES, result.pop("values"))
            before, after = (result[name][development.dev_measure] for name in ("dev_before", "dev"))
            _warn_of_loss(before, after, args, development.dev_measure)
        result["model_hash"] = save_trained(model, folder)
    return result


def save_trained(model: SentenceTransformer, folder: Path) -> str:
    """Write the retriever and the log; returns the hash of the weights."""
    save_portable(model, folder / RETRIEVER)
    shutil.copyfile(folder / SCRATCH / "log.jsonl", folder / "log.jsonl")
    return fingerprint(model)


def optimizer(args: RetrieverTrainingArguments) -> tuple[type[torch.optim.Optimizer], dict[str, Any]] | None:
    """Adafactor as T5 is trained with it (steps scaled by each matrix's size, no momentum); None: as transformers makes it."""
    if not args.adafactor:
        return None
    from transformers import Adafactor

    return Adafactor, {"lr": args.learning_rate, "scale_parameter": True, "relative_step": False}


def prepare_training(
    model: SentenceTransformer, temperature: float, args: RetrieverTrainingArguments
) -> MaskedContrastiveLoss:
    """Adapters and frozen parameters as the arguments say; returns the loss.

    Raises:
        InputError: the precision does not suit the model, or peft is missing.
    """
    args.require_safe(temperature)
    if args.fp16 and any(is_t5(transformer.auto_model.config) for transformer in transformers_of(model)):
        raise InputError("T5's feed-forward layers overflow float16; train in bfloat16 or float32: leave fp16 out.")
    if args.lora_rank:
        add_lora(model, args.lora_rank)
    freeze_unused(model)
    return MaskedContrastiveLoss(
        model,
        temperature=temperature,
        directions=args.directions,
        gradient_cache=args.gradient_cache,
        mini_batch_num_tokens=args.chunk_tokens,
    )


def same_everywhere(args: RetrieverTrainingArguments, measure: Callable[[], float]) -> float:
    """The temperature: the one that is given, or the one measured by the first process."""
    if args.temperature is not None:
        return args.temperature
    return on_first(measure)  # rounding differs from device to device; the temperature must not


def _chosen(trainer: RetrieverTrainer, evaluator: DevEvaluator) -> dict[str, Any]:
    """The step whose weights were kept, and the development measures there and before the training."""
    key = f"eval_{evaluator.primary_metric}"
    start, *lines = (line for line in trainer.state.log_history if key in line)
    best = (
        max(lines, key=lambda line: (line[key], -line["step"])) if trainer.args.load_best_model_at_end else lines[-1]
    )

    def measures(line: dict[str, float]) -> dict[str, float]:
        return {name: line[f"eval_dev_{name}"] for name in evaluator.measures}

    return {"chosen_step": best["step"], "dev": measures(best), "dev_before": measures(start)}


def _warn_of_loss(before: float, after: float, args: RetrieverTrainingArguments, measure: str) -> None:
    """Say that a training took more than it gave, which few labels and high rates do."""
    if after < before:
        logger.warning(
            "On the development queries the trained retriever is worse than what it started from (%s %.4f, before %.4f); "
            "try a lower --learning-rate than %g, or fewer steps.",
            measure,
            after,
            before,
            args.learning_rate,
        )


def round_arguments(
    args: RetrieverTrainingArguments, folder: Path, queries: int | None, evaluator: DevEvaluator | None
) -> RetrieverTrainingArguments:
    """The arguments of one training: its folder, and what the development set decides.

    Args:
        args: as they were given.
        folder: for the trainer's files.
        queries: to train on; None for an endless stream.
        evaluator: measures on the way; None: nothing does.

    Raises:
        InputError: several GPUs would be driven by one process, or a global batch does not fill.
    """
    arguments = args.changed(
        output_dir=str(folder), data_seed=args.seed, eval_strategy="no" if evaluator is None else args.eval_strategy
    )
    if arguments.n_gpu > 1:
        raise InputError(
            f"{arguments.n_gpu} GPUs in one process would hide negatives from each other; start with"
            " 'torchrun --nproc-per-node NUMBER' or set CUDA_VISIBLE_DEVICES to one."
        )
    batch = arguments.train_batch_size * arguments.world_size
    if arguments.length_is_open:
        arguments.max_steps = _open_length(arguments, batch, queries, evaluator)
        arguments.restore_callback_states_from_checkpoint = True  # how many measurements were no better
    arguments.num_train_epochs = arguments.num_train_epochs or _EPOCHS
    steps = _total_steps(arguments, batch, queries)
    for name in ("logging_steps", "eval_steps", "save_steps"):
        value = getattr(arguments, name)
        if value is not None and value < 1:  # a share: as a number a resumed training finds it unchanged
            setattr(arguments, name, max(1, math.ceil(value * steps)))
    if queries is not None and arguments.world_size > 1 and queries < batch:
        raise InputError(f"There are {queries} training queries, fewer than one global batch of {batch}.")
    if evaluator is not None:
        arguments.load_best_model_at_end = True
        arguments.metric_for_best_model = f"eval_{evaluator.primary_metric}"
        arguments.greater_is_better = True
        arguments.save_strategy = SaveStrategy(arguments.eval_strategy)
        arguments.save_steps = arguments.eval_steps or arguments.save_steps
        _tell_cost(evaluator, arguments, steps, steps * batch * arguments.gradient_accumulation_steps)
    return arguments


def _open_length(
    args: RetrieverTrainingArguments, batch: int, queries: int | None, evaluator: DevEvaluator | None
) -> int:
    """Steps at most where nobody said how many: three epochs, more where the queries are few, never over eighty epochs."""
    wanted = _STEPS_MEASURED if evaluator is not None else _STEPS_UNMEASURED
    epoch = (queries or 0) / (batch * args.gradient_accumulation_steps)
    return max(1, math.ceil(_EPOCHS * epoch), min(wanted, math.ceil(_MOST_EPOCHS * epoch)))


def _total_steps(args: RetrieverTrainingArguments, batch: int, queries: int | None) -> int:
    """Optimizer steps of a training, as transformers counts them."""
    if args.max_steps > 0 or queries is None:
        return max(args.max_steps, 1)
    batches = queries // batch if args.dataloader_drop_last else math.ceil(queries / batch)
    return math.ceil(
        (args.num_train_epochs or _EPOCHS) * max(1, math.ceil(batches / args.gradient_accumulation_steps))
    )


def _tell_cost(evaluator: DevEvaluator, args: RetrieverTrainingArguments, steps: int, queries: int) -> None:
    """Say so where measuring takes longer than training, whose backward pass costs as much as two texts read."""
    by_steps = args.eval_steps if args.eval_strategy == "steps" else None
    times = math.ceil(steps / by_steps if by_steps else args.num_train_epochs or _EPOCHS) + 1
    trained = queries * (2 + args.negatives_per_query)
    documents = len(evaluator.data.corpus)
    measured = times * (documents + len(evaluator.data.queries))
    if measured > 3 * trained:
        logger.info(
            "Measuring the development set will take most of the time, about %d %%: %d times %s documents, beside %s texts"
            " trained on; --eval-steps and --dev-documents change it.",
            round(100 * measured / (measured + 3 * trained)),
            times,
            f"{documents:,}",
            f"{trained:,}",
        )
