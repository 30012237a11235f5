"""Steps of a longer job: each leaves a folder with a manifest, and is skipped when it is done and its inputs are unchanged."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.distributed import on_first, processes
from hf_cocondenser.utils.files import read_json, require_new_folder, write_json
from hf_cocondenser.utils.locks import clear_leftovers, replace_folder
from hf_cocondenser.utils.records import changed_file, describe_files

logger = logging.getLogger(__name__)

STEPS = "steps"  # folder beside the result
MANIFEST = "manifest.json"
SCRATCH = "training"
"""Folder of a step for what is not needed once the step is done: checkpoints of a training."""

_INPUTS = "inputs.json"


def make_steps(output_dir: Path, overwrite: bool) -> None:
    """Make the folder of the steps.

    One process looks and makes: what another has made would pass for an earlier call's.

    Raises:
        InputError: `output_dir` has something in it that is not a job's, and `overwrite` is false.
    """

    def make() -> None:
        if not (output_dir / STEPS).is_dir():
            require_new_folder(output_dir, overwrite)
        (output_dir / STEPS).mkdir(parents=True, exist_ok=True)

    on_first(make)


def run_step(
    folder: Path,
    inputs: dict[str, Any],
    work: Callable[[Path], dict[str, Any]],
    *,
    overwrite: bool = False,
    everywhere: bool = False,
) -> dict[str, Any]:
    """Do a step, or find it done.

    `work` writes into the folder it is given and returns what is worth recording. That folder has a fixed name beside
    the step's own and survives a kill, so `work` can go on where it stopped. What `work` leaves in its folder
    `training` is removed when the step is done.

    Args:
        folder: where the result stands; renamed into place when the step is complete.
        inputs: everything the result depends on, as JSON values.
        work: does the step.
        overwrite: do a step again that was done, or begun, with other inputs, or whose files are damaged.
        everywhere: of several processes, all take part in `work` (training), not the first alone.

    Returns:
        The manifest: `inputs`, `seconds`, `files`, and what `work` returned as `result`.

    Raises:
        InputError: the step was done or begun with other inputs, or is damaged, and `overwrite` is false.
    """
    inputs = {name: value for name, value in sorted(inputs.items())}
    partial = folder.with_name(f"{folder.name}.partial")
    done = on_first(lambda: _find(folder, partial, inputs, overwrite))
    if done is not None:
        return done
    started = time.perf_counter()
    result = work(partial) if everywhere or processes().is_main_process else {}
    return on_first(lambda: _complete(partial, folder, inputs, round(time.perf_counter() - started, 1), result))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished step.

    Raises:
        InputError: it is damaged.
    """
    return read_json(folder / MANIFEST, {"inputs": dict, "result": dict})


def hand_on(source: Path, target: Path) -> None:
    """Copy a finished step to where another job will find it done; nothing happens where there is one already."""
    if (source / MANIFEST).is_file() and not target.exists():
        partial = target.with_name(f".{target.name}.partial-copy")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial)
        partial.rename(target)


def _find(folder: Path, partial: Path, inputs: dict[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """The manifest of a step that is done; else None, with its folder made ready."""
    clear_leftovers(folder)
    if (folder / MANIFEST).is_file():
        manifest, reason = _look(folder, inputs)
        if reason is None:
            logger.info("%s: done before.", folder.name)
            return manifest
        if not overwrite:
            raise InputError(
                f"'{folder}' {reason}; name a new output folder, or add --overwrite to do this step and what follows again."
            )
    if (partial / MANIFEST).is_file() and _look(partial, inputs)[1] is None:
        return _publish(partial, folder)  # killed in its last moment
    if (partial / _INPUTS).is_file():
        changed = _changed(read_json(partial / _INPUTS, dict), inputs)
        begun = any(path.name != _INPUTS for path in partial.iterdir())  # not where the inputs were refused
        if changed and begun and not overwrite:
            raise InputError(
                f"'{partial}' holds this step half done with other inputs ({', '.join(changed)}); go on with the same, name"
                " a new output folder, or add --overwrite to begin this step again."
            )
        if not changed:
            return None
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    write_json(partial / _INPUTS, inputs)
    return None


def _look(folder: Path, inputs: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """A step's manifest, and why it is not the step that is wanted."""
    try:
        manifest = read_manifest(folder)
    except InputError as error:
        return {}, f"is damaged ({error})"
    if changed := _changed(manifest["inputs"], inputs):
        return manifest, f"was made with other inputs ({', '.join(changed)})"
    damaged = changed_file(folder, manifest.get("files") or {})
    return manifest, damaged and f"is damaged: '{damaged}' is missing or not the file that was written"


def _complete(
    partial: Path, folder: Path, inputs: dict[str, Any], seconds: float, result: dict[str, Any]
) -> dict[str, Any]:
    outside = (path for path in partial.rglob("*") if path.is_file() and path.name != _INPUTS)
    files = describe_files(partial, (path for path in outside if path.relative_to(partial).parts[0] != SCRATCH))
    # The manifest first: until it is there, a killed step needs its checkpoints.
    write_json(partial / MANIFEST, {"inputs": inputs, "seconds": seconds, "files": files, "result": result})
    return _publish(partial, folder)


def _publish(partial: Path, folder: Path) -> dict[str, Any]:
    shutil.rmtree(partial / SCRATCH, ignore_errors=True)
    (partial / _INPUTS).unlink(missing_ok=True)
    replace_folder(partial, folder)
    return read_manifest(folder)


def _changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = sorted(before.keys() | now.keys())
    return [
        f"{name}: {before.get(name)} before, {now.get(name)} now"
        for name in names
        if before.get(name) != now.get(name)
    ]
