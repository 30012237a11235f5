"""What a pre-training leaves in its folder for model cards and for those who go on with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import Trainer
from transformers.utils import cached_file

from hf_cocondenser.hub.card import write_card
from hf_cocondenser.hub.records import PRETRAINING, card_from_records
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments
from hf_cocondenser.pretraining.checks import condenser_of, find
from hf_cocondenser.retrieval.retriever import as_retriever
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.checkpoint import CONDENSER_FOLDER
from hf_cocondenser.utils.files import absolute_if_there, read_json
from hf_cocondenser.utils.loading import out_of_reach

OPTIMISATION = (
    "learning_rate",
    "warmup_steps",
    "weight_decay",
    "per_device_train_batch_size",
    "world_size",
    "gradient_accumulation_steps",
    "grad_cache",
    "temperature",
    "normalize",
    "bf16",
    "fp16",
    "seed",
)
HEAD = ("n_head_layers", "skip_from", "late_mlm")
"""Options of a Condenser's head, by their names in its configuration."""


def record_of(start: str | Path) -> dict[str, Any] | None:
    """What the pre-training that made a checkpoint left beside it, here or on the Hub; None where there is nothing."""
    place = checkpoint_path(start)
    if Path(place).is_file() or out_of_reach(place):
        return None
    for subfolder in ("", CONDENSER_FOLDER):  # a published repository has its Condenser there
        try:
            found = cached_file(place, PRETRAINING, subfolder=subfolder)
        except OSError:
            continue
        record = read_json(Path(found))
        # a file of that name may be somebody else's
        return record if isinstance(record, dict) and {"stage", "optimisation"} <= record.keys() else None
    return None


def scale_like(earlier: dict[str, Any] | None, args: CondenserTrainingArguments) -> None:
    """Leave the contrast as the coCondenser was trained with that is continued: its vectors are of a size for it."""
    own = earlier["optimisation"] if earlier and earlier["stage"] == "cocondenser" else {}
    normalized = own.get("normalize", False)
    if args.normalize is None:
        args.normalize = normalized
    if args.temperature is None:
        args.temperature = own.get("temperature", 1.0) if args.normalize == normalized else 1.0


def run_record(trainer: Trainer, details: dict[str, Any]) -> dict[str, Any]:
    """What a model card, and those who go on, need to know of a run.

    Args:
        trainer: a `CondenserTrainer`.
        details: what the caller knows better (`start`, `earlier_stage`, `options`).
    """
    args, state, dataset = trainer.args, trainer.state, trainer.train_dataset
    config = condenser_of(trainer.model).config
    collator = {name: getattr(trainer.data_collator, name, None) for name in ("max_length", "mlm_probability")}
    tokenizer = {"name": str(getattr(trainer.processing_class, "name_or_path", ""))}
    spans = {"tokenizer": tokenizer, "source": f"a {type(dataset).__name__}"}
    if (manifest := find(dataset, "manifest")) is not None:
        spans = {"folder": str(find(dataset, "folder")), **manifest}
    own = {
        "start": absolute_if_there(config.name_or_path) if config.name_or_path else "",
        "stage": args.stage,
        "spans": spans,
        "options": {name: value for name, value in collator.items() if value is not None},
        "optimisation": {name: getattr(args, name) for name in OPTIMISATION},
        "steps": state.global_step,
        "epochs": state.epoch,
        "tokens": trainer.tokens_seen,
        "device": str(args.device),
        "log": state.log_history,
        "earlier_stage": None,
    }
    head = {name: getattr(config, name) for name in HEAD}
    return own | details | {"options": details.get("options", own["options"]) | head}


def write_run_card(
    trainer: Trainer,
    language: str | Sequence[str] | None,
    license: str | None,
    name: str | None,
    base_model: str | None,
    datasets: str | Sequence[str] | None,
) -> None:
    """Write the model card of a run that may not have saved its model yet; see `CondenserTrainer.create_model_card`."""
    folder, model = Path(trainer.args.output_dir), condenser_of(trainer.model)
    folder.mkdir(parents=True, exist_ok=True)
    card = card_from_records(folder, record=run_record(trainer, trainer.record_details), name=name)
    card = replace(
        card,
        language=[language] if isinstance(language, str) else language or (),
        license=license,
        base_model=base_model or card.base_model,
        datasets=[datasets] if isinstance(datasets, str) else datasets or (),
    )
    retriever = as_retriever(model, tokenizer=trainer.processing_class, device="cpu")
    write_card(folder, card, retriever, is_checkpoint=True)
