"""What is looked at before pre-training begins: arguments that make sense, and a folder whose run can be gone on with."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)

from hf_cocondenser.errors import InputError
from hf_cocondenser.hub.records import PRETRAINING
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments, ModelOptions
from hf_cocondenser.pretraining.trainer import CondenserTrainer
from hf_cocondenser.utils.files import absolute_if_there, read_json, require_new_folder
from hf_cocondenser.utils.records import changed_file, read_record
from hf_cocondenser.utils.trainer_checkpoints import last_checkpoint, trainer_state

logger = logging.getLogger(__name__)

RUN = "run.json"
"""What a run is of, beside its checkpoints."""

_SETTINGS = (
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "optim",
    "max_grad_norm",
    "max_steps",
    "num_train_epochs",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "world_size",
    "temperature",
    "normalize",
    "bf16",
    "fp16",
)
_REPORTER_PACKAGES = {"azure_ml": "azureml-sdk", "comet_ml": "comet-ml", "flyte": "flytekit"}  # else their own names


def require_seed(seed: int) -> None:
    """Refuse a seed that NumPy cannot take.

    Raises:
        InputError: it is out of its range.
    """
    if not 0 <= seed < 2**32:
        raise InputError(f"seed is {seed}; it must lie between 0 and 2**32 - 1.")


def require_reporters(args: CondenserTrainingArguments) -> None:
    """Refuse to report to a service whose package is not there; transformers would say so after the model is made.

    Raises:
        InputError: transformers does not know the service, or its package is missing.
    """
    for name in args.report_to:
        if name in get_available_reporting_integrations():
            continue
        if name not in INTEGRATION_TO_CALLBACK:
            raise InputError(f"report_to is '{name}'; transformers reports to {', '.join(INTEGRATION_TO_CALLBACK)}.")
        package = _REPORTER_PACKAGES.get(name, name)
        raise InputError(f"report_to is '{name}', whose package is not installed: pip install {package}.")


def run_identity(
    start: str | Path, args: CondenserTrainingArguments, options: ModelOptions, manifest: dict[str, Any]
) -> dict[str, Any]:
    """What a run is: what must not change in the middle of it, and the `settings`, which may change on purpose."""
    return {
        "stage": args.stage,
        "spans": {name: manifest[name] for name in ("tokenizer", "recipe", "counts")},
        "seed": args.seed,
        "max_length": options.max_length,
        "mlm_probability": options.mlm_probability,
        "settings": {"start": absolute_if_there(start)}
        | {name: getattr(args, name) for name in _SETTINGS}
        | {
            name: getattr(options, name)
            for name in ("n_head_layers", "fresh_head", "skip_from", "late_mlm", "dropout")
        },
    }


def take_up(output: Path, now: dict[str, Any], resume: bool, with_best: bool) -> tuple[bool, str | None]:
    """Look for a run to go on with in the output folder.

    Args:
        output: new, or the folder of a run.
        now: the run's `run_identity`.
        resume: go on although the settings changed.
        with_best: see `last_checkpoint`.

    Returns:
        Whether there is one, and the last of its whole checkpoints.

    Raises:
        InputError: the folder holds something else, or another run.
    """
    require_new_folder(output, overwrite=True)
    entries = {path.name for path in output.iterdir()} if output.is_dir() else set()
    if entries <= {"runs"}:  # TensorBoard's lines
        return False, None
    if RUN not in entries:
        raise InputError(f"Cannot resume: '{output}' is not a pre-training run. Choose another --output-dir.")
    before = read_json(output / RUN, {"stage": str})
    changed = _changed(before, now, [name for name in now if name != "settings"])
    if changed:
        raise InputError(f"The run in '{output}' has another {changed}; go on with the same, or name another folder.")
    if not resume and isinstance(before.get("settings"), dict):
        changed = _changed(before["settings"], now["settings"], list(now["settings"]))
        if changed:
            raise InputError(
                f"The run in '{output}' has another {changed}; go on with the same, add --resume to go on with these"
                " settings, or name another folder."
            )
    return True, last_checkpoint(output, with_best=with_best)


def _changed(before: dict[str, Any], now: dict[str, Any], names: list[str]) -> str:
    changed = [name for name in names if before.get(name) != now[name]]
    return ", ".join(n if n == "spans" else f"{n} ({before.get(n)}, now {now[n]})" for n in changed)


def finished_in(trainer: CondenserTrainer, output: Path, last: str | None) -> Path | None:
    """Where the weights of a run are that has taken all its steps; Trainer would take one more of it.

    Returns:
        The output folder, if the run left its weights and record there; the last checkpoint, if it was killed before; else None.
    """
    steps = _steps(trainer)
    is_whole = (output / PRETRAINING).is_file() and any(output.glob("model*.safetensors"))
    if is_whole and (record := read_record(output)) is not None and (name := changed_file(output, record["files"])):
        logger.warning("'%s' is missing or damaged: the weights are written again.", output / name)
        is_whole = False
    if is_whole and read_json(output / PRETRAINING, {"steps": int})["steps"] >= steps:
        return output
    if last is not None and trainer_state(last)["global_step"] >= steps:
        return Path(last)
    return None


def _steps(trainer: CondenserTrainer) -> int:
    """The steps of a whole run, as Trainer counts them."""
    args = trainer.args
    if args.max_steps > 0:
        return args.max_steps
    per_epoch = math.ceil(len(trainer.get_train_dataloader()) / args.gradient_accumulation_steps)
    return math.ceil(args.num_train_epochs * per_epoch)
