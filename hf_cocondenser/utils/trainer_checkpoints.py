"""Which of a Trainer's checkpoints a stopped run can go on from: those that are whole."""

from __future__ import annotations

import logging
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.distributed import on_first, processes
from hf_cocondenser.utils.files import read_json
from hf_cocondenser.utils.hashes import read_modules
from hf_cocondenser.utils.records import changed_file, read_record, write_record

logger = logging.getLogger(__name__)

_STATE = {"global_step": int, "log_history": list}
_SHARDED = (
    "global_step*",
    "optimizer_*",
    "pytorch_model_fsdp*",
)  # folders in which DeepSpeed and FSDP keep the optimizer


def trainer_state(checkpoint: str | Path) -> dict[str, Any]:
    """What `trainer_state.json` holds.

    Raises:
        InputError: it is missing or damaged.
    """
    return read_json(Path(checkpoint) / TRAINER_STATE_NAME, _STATE)


class RecordCheckpoints(TrainerCallback):
    """Writes into every checkpoint, when it is complete, what it consists of."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the record; the other processes may not yet have written their random states."""
        if args.should_save:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("rng_state")]
            write_record(folder, files, processes=args.world_size, resumable=not args.save_only_model)


def damage(checkpoint: Path, *, read: bool = True) -> str | None:
    """What is missing from a checkpoint or damaged in it; None where it is whole.

    It needs the trainer's state, weights, optimizer, scheduler, every process's random state, and what its record lists.

    Args:
        checkpoint: the folder.
        read: read the files too, not only look whether they are there.
    """
    try:
        trainer_state(checkpoint)
        record = read_record(checkpoint)
        if record is not None and (name := changed_file(checkpoint, record["files"], read=read)):
            return f"{name} is missing or not the file that was written"
        modules = read_modules(checkpoint) if (checkpoint / "modules.json").is_file() else []
    except InputError as error:
        return str(error)
    for module in modules:
        if not any((checkpoint / module).glob("*.json")):
            return f"{module} has no configuration"
    ranks = processes().num_processes if record is None else int(record.get("processes", 1))
    return _missing_part(checkpoint, ranks) or _damaged_weights(checkpoint, read)


def require_whole(checkpoint: str | Path) -> None:
    """Refuse a checkpoint that is not whole.

    Raises:
        InputError: see `damage`.
    """
    if reason := damage(Path(checkpoint)):
        raise InputError(
            f"The best checkpoint '{checkpoint}' cannot be loaded: {reason.rstrip('.')}. Delete it and run the same command"
            " again, which trains again from an earlier checkpoint."
        )


def last_checkpoint(folder: Path, *, with_best: bool = False) -> str | None:
    """The last whole checkpoint in a Trainer's output folder, if there is one.

    Damaged ones, which a kill or a full disk may leave, are removed: they would count as checkpoints that are kept, so
    that whole ones were deleted, and training writes them again when it gets there.

    Args:
        folder: of one training.
        with_best: the checkpoint that was the best until then must be whole too.
    """
    return on_first(lambda: _last(folder, with_best))


def _last(folder: Path, with_best: bool) -> str | None:
    numbers = {path: path.name.rsplit("-", 1)[1] for path in folder.glob("checkpoint-*") if path.is_dir()}
    found = sorted((int(number), path) for path, number in numbers.items() if number.isdecimal())
    last = None
    for _, path in reversed(found):
        with suppress(InputError):
            if not (read_record(path) or {}).get("resumable", True):
                continue  # it has the weights alone, as --save-only-model wants
        reason = damage(path, read=last is None)
        if (
            reason is None
            and last is None
            and with_best
            and (best := trainer_state(path).get("best_model_checkpoint"))
        ):
            best = folder / Path(best).name
            reason = (lost := damage(best)) and f"'{best}', the best until then, is damaged: {lost}"
        if reason is not None:
            logger.warning("'%s' cannot be gone on from, so it is removed: %s.", path, reason.rstrip("."))
            shutil.rmtree(path)
        elif last is None:
            last = path
    return None if last is None else str(last)


def _missing_part(checkpoint: Path, ranks: int) -> str | None:
    names = []
    if not any(part.is_dir() for pattern in _SHARDED for part in checkpoint.glob(pattern)):
        names += ["optimizer.pt", "scheduler.pt"]
    if not (checkpoint / "rng_state.pth").is_file():
        names += [f"rng_state_{rank}.pth" for rank in range(ranks)] if ranks > 1 else ["rng_state.pth"]
    return next((f"{name} is missing" for name in names if not (checkpoint / name).is_file()), None)


def _damaged_weights(checkpoint: Path, read: bool) -> str | None:
    weights = [*checkpoint.rglob("*.safetensors"), *checkpoint.rglob("pytorch_model*.bin")]
    if not weights and not any(checkpoint.glob("pytorch_model_fsdp*")):
        return "its weights are missing"
    for path in [*weights, *checkpoint.glob("*.pt"), *checkpoint.glob("*.pth")] if read else []:
        try:
            if path.suffix == ".safetensors":
                with safe_open(path, "np") as file:
                    file.keys()
            elif zipfile.ZipFile(path).testzip() is not None:  # torch's format, with a checksum of each part
                return f"{path.name} is damaged"
        except (OSError, SafetensorError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
            return f"{path.name} is damaged ({' '.join(str(error).split())})"
    if (index := checkpoint / "model.safetensors.index.json").is_file():
        try:
            shards = sorted(set(map(str, read_json(index, {"weight_map": dict})["weight_map"].values())))
        except InputError as error:
            return str(error)
        return next((f"{shard} is missing" for shard in shards if not (checkpoint / shard).is_file()), None)
    return None
