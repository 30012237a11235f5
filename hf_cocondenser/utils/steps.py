"""Steps of a longer job: each leaves a folder with a manifest, and is skipped when it is done and its inputs are unchanged."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.files import read_json, require_new_folder, write_json

logger = logging.getLogger(__name__)

STEPS = "steps"  # folder beside the result
MANIFEST = "manifest.json"
_INPUTS = "inputs.json"


def processes() -> PartialState:
    """The processes of this job; the others wait for the first one as long as a step takes it."""
    return PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=2))


def once(work: Callable[[], None]) -> None:
    """Let the first process do something before any other goes on.

    Raises:
        InputError: on every process, what `work` raised on the first.
    """
    said: list[str | None] = [None]
    if processes().is_main_process:
        try:
            work()
        except InputError as error:
            said = [str(error)]
    if processes().num_processes > 1:
        broadcast_object_list(said)
    if said[0] is not None:
        raise InputError(said[0])


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

    once(make)


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
    the step's own and survives a kill, so `work` can go on where it stopped; it is emptied when the inputs changed.

    Args:
        folder: where the result stands; renamed into place when the step is complete.
        inputs: everything the result depends on, as JSON values.
        work: does the step.
        overwrite: do a step again whose inputs changed.
        everywhere: of several processes, all take part in `work` (training), not the first alone.

    Returns:
        The manifest: `inputs`, `seconds`, and what `work` returned as `result`.

    Raises:
        InputError: the step was done with other inputs and `overwrite` is false.
    """
    inputs = {name: value for name, value in sorted(inputs.items())}
    if (folder / MANIFEST).is_file():
        manifest = read_json(folder / MANIFEST)
        changed = _changed(manifest["inputs"], inputs)
        if not changed:
            logger.info("%s: done before.", folder.name)
            return manifest
        if not overwrite:
            raise InputError(
                f"'{folder}' was made with other inputs ({', '.join(changed)}); name a new output folder, or add"
                f" --overwrite to do this step and what follows again."
            )
    state = processes()
    partial = folder.with_name(f"{folder.name}.partial")
    if state.is_main_process:
        _prepare(partial, inputs)
    state.wait_for_everyone()
    started = time.perf_counter()
    if everywhere or state.is_main_process:
        result = work(partial)
    if state.is_main_process:
        seconds = round(time.perf_counter() - started, 1)
        write_json(partial / MANIFEST, {"inputs": inputs, "seconds": seconds, "result": result})
        (partial / _INPUTS).unlink()
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    state.wait_for_everyone()
    return read_json(folder / MANIFEST)


def hand_on(source: Path, target: Path) -> None:
    """Copy a finished step to where another job will find it done; nothing happens where there is one already."""
    if (source / MANIFEST).is_file() and not target.exists():
        partial = target.with_name(f".{target.name}.copy")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial)
        partial.rename(target)


def _prepare(partial: Path, inputs: dict[str, Any]) -> None:
    if partial.is_dir():
        recorded = partial / _INPUTS
        if not recorded.is_file() or _changed(read_json(recorded), inputs):
            shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    write_json(partial / _INPUTS, inputs)


def _changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = sorted(before.keys() | now.keys())
    return [
        f"{name}: {before.get(name)} before, {now.get(name)} now"
        for name in names
        if before.get(name) != now.get(name)
    ]
