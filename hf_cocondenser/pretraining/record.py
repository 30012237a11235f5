"""What a pre-training leaves in its folder for model cards and for those who go on with it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers.utils import cached_file

from hf_cocondenser.hub.records import PRETRAINING
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments, ModelOptions
from hf_cocondenser.pretraining.trainer import CondenserTrainer
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.checkpoint import CONDENSER_FOLDER
from hf_cocondenser.utils.files import absolute_if_there, read_json
from hf_cocondenser.utils.loading import out_of_reach

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


def run_record(
    start: str | Path,
    earlier: dict[str, Any] | None,
    spans: str | Path,
    manifest: dict[str, Any],
    options: ModelOptions,
    trainer: CondenserTrainer,
) -> dict[str, Any]:
    """What a model card needs to know of this run."""
    args, state = trainer.args, trainer.state
    return {
        "start": absolute_if_there(start),
        "stage": args.stage,
        "spans": {"folder": str(spans), **manifest},
        "options": asdict(options) | {name: getattr(trainer.model.config, name) for name in HEAD},
        "optimisation": {
            name: getattr(args, name)
            for name in (
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
        },
        "steps": state.global_step,
        "epochs": state.epoch,
        "tokens": trainer.tokens_seen,
        "device": str(args.device),
        "log": state.log_history,
        "earlier_stage": earlier,
    }
