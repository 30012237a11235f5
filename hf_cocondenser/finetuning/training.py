"""One round of training: a model, a training set and a configuration in, the best retriever out."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import ProgressCallback, TrainerCallback
from transformers.trainer_utils import IntervalStrategy

from hf_cocondenser.backbones import is_t5
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.config import FinetuneConfig
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
from hf_cocondenser.retrieval.encode import resolve_precision
from hf_cocondenser.retrieval.retriever import fingerprint, transformers_of
from hf_cocondenser.utils.distributed import on_first, training_device
from hf_cocondenser.utils.progress import fit_to_output
from hf_cocondenser.utils.steps import SCRATCH
from hf_cocondenser.utils.trainer_checkpoints import last_checkpoint

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments

logger = logging.getLogger(__name__)

RETRIEVER = "retriever"


def train_round(
    model: SentenceTransformer,
    training_set: TrainingSet,
    dev: RetrievalData | None,
    folder: Path,
    config: FinetuneConfig,
    schedule: TrainerCallback | None = None,
) -> dict[str, Any]:
    """Train `model` in `folder`, going on from the last checkpoint there, and write the best one to `folder/retriever`.

    Args:
        schedule: sets the learning rate and the end of the training and shows its progress, in the trainer's stead.

    Returns:
        What is worth recording: temperature, steps, the development measures of the chosen checkpoint, the weights' hash.

    Raises:
        InputError: there are fewer training queries than a batch over all processes needs, or the precision does not
            suit the model.
    """
    torch.manual_seed(config.seed)
    temperature = same_everywhere(config, lambda: auto_temperature(model, training_set))
    loss = prepare_training(model, temperature, config)
    collator = TrainingCollator(
        training_set,
        TokenStore(model, training_set.queries, "query"),
        TokenStore(model, training_set.passages, "document"),
    )
    evaluator = DevEvaluator(dev, config.dev_measure) if dev is not None and config.evaluations else None
    arguments = training_arguments(config, folder / SCRATCH, len(training_set), evaluator)
    logger.info(
        "%s training queries, %s distinct passages, temperature %g.",
        f"{len(training_set):,}",
        f"{len(training_set.passages):,}",
        temperature,
    )
    checkpoint = last_checkpoint(folder / SCRATCH, with_best=arguments.load_best_model_at_end)
    arguments.eval_on_start = evaluator is not None and checkpoint is None
    trainer = RetrieverTrainer(model, arguments, training_set, collator, loss, evaluator, optimizer(config))
    if schedule is not None:
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(schedule)
    else:
        fit_to_output(trainer)
    trainer.train(resume_from_checkpoint=checkpoint)
    result: dict[str, Any] = {
        "temperature": temperature,
        "steps": trainer.state.global_step,
        "training_queries": len(training_set),
        "passages": len(training_set.passages),
    }
    if trainer.is_world_process_zero():
        result |= _chosen(trainer, evaluator)
        if evaluator is not None:
            _warn_of_loss(result["dev_before"][config.dev_measure], result["dev"][config.dev_measure], config)
        result["model_hash"] = save_trained(model, folder, config)
    return result


def save_trained(model: SentenceTransformer, folder: Path, config: FinetuneConfig) -> str:
    """Write the retriever and the log; returns the hash of the weights."""
    if config.lora_rank:
        merge_lora(model)
    save_portable(model, folder / RETRIEVER)
    shutil.copyfile(folder / SCRATCH / "log.jsonl", folder / "log.jsonl")
    return fingerprint(model)


def optimizer(config: FinetuneConfig) -> tuple[type[torch.optim.Optimizer], dict[str, Any]] | None:
    """Adafactor as T5 is trained with it (steps scaled by each matrix's size, no momentum), or None for AdamW."""
    if config.optimizer == "adamw":
        return None
    from transformers import Adafactor

    return Adafactor, {"lr": config.learning_rate, "scale_parameter": True, "relative_step": False}


def require_fitting_precision(model: SentenceTransformer, temperature: float, config: FinetuneConfig) -> None:
    """Refuse float16 where it does not work.

    Raises:
        InputError: float16 with a low temperature, for T5 (whose feed-forward sums overflow it), or on a CPU.
    """
    config.require_safe(temperature)
    if config.precision != "float16":
        return
    if any(is_t5(transformer.auto_model.config) for transformer in transformers_of(model)):
        raise InputError("T5's feed-forward layers overflow float16; choose --precision bfloat16 or float32.")
    if training_device().type == "cpu":
        raise InputError("float16 trains on a GPU only; choose --precision float32 or bfloat16.")


def prepare_training(model: SentenceTransformer, temperature: float, config: FinetuneConfig) -> MaskedContrastiveLoss:
    """Adapters, checkpointing and frozen parameters as the configuration says; returns the loss.

    Raises:
        InputError: the precision does not suit the model, or peft is missing.
    """
    require_fitting_precision(model, temperature, config)
    if config.lora_rank:
        add_lora(model, config.lora_rank)
    freeze_unused(model)
    if config.activation_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return MaskedContrastiveLoss(
        model,
        temperature=temperature,
        directions=config.directions,
        gradient_cache=config.gradient_cache,
        mini_batch_num_tokens=config.chunk_tokens,
    )


def same_everywhere(config: FinetuneConfig, measure: Callable[[], float]) -> float:
    """The temperature: the configuration's, or the one measured by the first process."""
    if config.temperature != "auto":
        return config.fixed_temperature()
    return on_first(measure)  # rounding differs from device to device; the temperature must not


def _chosen(trainer: RetrieverTrainer, evaluator: DevEvaluator | None) -> dict[str, Any]:
    """The step whose weights were kept, and the development measures there and before the training."""
    if evaluator is None:
        return {}
    key = f"eval_{evaluator.primary_metric}"
    start, *lines = (line for line in trainer.state.log_history if key in line)
    best = max(lines, key=lambda line: (line[key], -line["step"]))

    def measures(line: dict[str, float]) -> dict[str, float]:
        return {name: line[f"eval_dev_{name}"] for name in evaluator.measures}

    return {"chosen_step": best["step"], "dev": measures(best), "dev_before": measures(start)}


def _warn_of_loss(before: float, after: float, config: FinetuneConfig) -> None:
    """Say that a training took more than it gave, which few labels and high rates do."""
    if after < before:
        logger.warning(
            "On the development queries the trained retriever is worse than what it started from (%s %.4f, before %.4f); "
            "try a lower --learning-rate than %g, or fewer steps.",
            config.dev_measure,
            after,
            before,
            config.learning_rate,
        )


def training_arguments(
    config: FinetuneConfig, folder: Path, queries: int | None, evaluator: DevEvaluator | None
) -> SentenceTransformerTrainingArguments:
    """The trainer's arguments for a round, or, with `max_steps` and None for `queries`, for an endless stream.

    Raises:
        InputError: several GPUs would be driven by one process, or a global batch does not fill.
    """
    from sentence_transformers import SentenceTransformerTrainingArguments

    device = training_device()
    on_cpu = device.type == "cpu"
    half = config.precision == "float16"
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=config.epochs,
        max_steps=config.max_steps or -1,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup,
        weight_decay=config.weight_decay,
        bf16=not half and resolve_precision(config.precision, device) == "bfloat16",
        fp16=half,
        use_cpu=on_cpu,
        seed=config.seed,
        data_seed=config.seed,
        logging_nan_inf_filter=False,
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
        dataloader_pin_memory=not on_cpu,
        report_to="none",
        save_total_limit=2,
    )
    if arguments.n_gpu > 1:
        raise InputError(
            f"{arguments.n_gpu} GPUs in one process would hide negatives from each other; start with"
            " 'torchrun --nproc-per-node NUMBER' or set CUDA_VISIBLE_DEVICES to one."
        )
    batch = config.batch_size * arguments.world_size
    queries = batch if queries is None else queries
    if arguments.world_size > 1 and queries < batch:
        raise InputError(f"There are {queries} training queries, fewer than one global batch of {batch}.")
    per_epoch = queries // batch if arguments.world_size > 1 else math.ceil(queries / batch)
    steps = config.max_steps or max(1, math.ceil(per_epoch * config.epochs))
    every = max(1, math.ceil(steps / max(config.evaluations, 1)))
    arguments.logging_steps = max(1, min(50, steps // 20))
    arguments.save_strategy = IntervalStrategy.STEPS if config.evaluations else IntervalStrategy.NO
    arguments.save_steps = every
    if evaluator is not None:
        arguments.eval_strategy = IntervalStrategy.STEPS
        arguments.eval_steps = every
        arguments.load_best_model_at_end = True
        arguments.metric_for_best_model = f"eval_{evaluator.primary_metric}"
        arguments.greater_is_better = True
        _tell_cost(evaluator, math.ceil(steps / every) + 1, steps * batch * (2 + config.negatives_per_query))
    return arguments


def _tell_cost(evaluator: DevEvaluator, times: int, trained: int) -> None:
    """Say so where measuring takes longer than training, whose backward pass costs as much as two texts read."""
    documents = len(evaluator.data.corpus)
    measured = times * (documents + len(evaluator.data.queries))
    if measured > 3 * trained:
        logger.info(
            "Measuring the development set will take most of the time, about %d %%: %d times %s documents, beside %s texts"
            " trained on; --evaluations and --dev-documents lower it.",
            round(100 * measured / (measured + 3 * trained)),
            times,
            f"{documents:,}",
            f"{trained:,}",
        )
