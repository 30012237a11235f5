"""What is looked at before pre-training begins: arguments that make sense, and a folder whose run can be gone on with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)
from transformers.trainer import TRAINER_STATE_NAME

from hf_cocondenser.configuration_condenser import CondenserConfig
from hf_cocondenser.errors import InputError
from hf_cocondenser.hub.records import PRETRAINING
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments, ModelOptions
from hf_cocondenser.pretraining.trainer import CondenserTrainer
from hf_cocondenser.utils.files import read_json
from hf_cocondenser.utils.trainer_checkpoints import last_checkpoint

RUN = "run.json"
"""What a run is of, beside its checkpoints."""

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


def is_of_a_run(output: Path) -> bool:
    """Whether a folder, if it holds anything, is a pre-training's own, stopped before its first whole checkpoint."""
    entries = {path.name for path in output.iterdir()} if output.is_dir() else set()
    own = (PRETRAINING, RUN, "training_args.bin", "checkpoint-")
    return any(name.startswith(own) for name in entries) or entries <= {"runs"}  # TensorBoard's lines


def resumed_from(output: Path) -> str | None:
    """The checkpoint that a run in this folder goes on from, if there is one.

    Raises:
        InputError: it is of another training.
    """
    last = last_checkpoint(output)
    if last is not None and read_json(Path(last) / "config.json").get("model_type") != CondenserConfig.model_type:
        raise InputError(f"'{last}' is of another training, not of a Condenser; name another output folder.")
    return last


def run_identity(args: CondenserTrainingArguments, options: ModelOptions, manifest: dict[str, Any]) -> dict[str, Any]:
    """What must not change in the middle of a run: the stage, the spans, and how they are drawn and masked."""
    return {
        "stage": args.stage,
        "spans": {name: manifest[name] for name in ("tokenizer", "recipe", "counts")},
        "seed": args.seed,
        "max_length": options.max_length,
        "mlm_probability": options.mlm_probability,
    }


def require_same_run(output: Path, now: dict[str, Any]) -> None:
    """Refuse to go on with a run as another one.

    Raises:
        InputError: the run in this folder was started with another of what `run_identity` names.
    """
    if not (output / RUN).is_file():
        return
    before = read_json(output / RUN)
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        told = ", ".join(
            f"{name} ({before.get(name)}, now {now[name]})" if name != "spans" else name for name in changed
        )
        raise InputError(f"The run in '{output}' has another {told}; go on with the same, or name another folder.")


def finished_in(trainer: CondenserTrainer, output: Path, last: str | None) -> Path | None:
    """Where the weights of a run are that has taken all its steps; Trainer would take one more of it.

    Returns:
        The output folder, if the run left its weights and record there; the last checkpoint, if it was killed before; else None.
    """
    steps = _steps(trainer)
    is_whole = (output / PRETRAINING).is_file() and any(output.glob("model*.safetensors"))
    if is_whole and read_json(output / PRETRAINING)["steps"] >= steps:
        return output
    if last is not None and read_json(Path(last) / TRAINER_STATE_NAME)["global_step"] >= steps:
        return Path(last)
    return None


def _steps(trainer: CondenserTrainer) -> int:
    """The steps of a whole run, as Trainer counts them."""
    args = trainer.args
    if args.max_steps > 0:
        return args.max_steps
    per_epoch = math.ceil(len(trainer.get_train_dataloader()) / args.gradient_accumulation_steps)
    return math.ceil(args.num_train_epochs * per_epoch)
