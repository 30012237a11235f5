"""The processes started by torchrun or accelerate launch, and the device that each works on."""

from __future__ import annotations

import atexit
import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import timedelta
from functools import lru_cache, wraps
from inspect import signature
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.files import require_new_folder
from hf_cocondenser.utils.locks import folder_lock

P = ParamSpec("P")
T = TypeVar("T")

TIMEOUT = "HF_COCONDENSER_TIMEOUT"
"""Environment variable: after how many seconds processes give up on one that does not answer."""

_TIMEOUT = 7200
_STEP = timedelta(days=7)  # as long as the others wait for work that the first process does alone


def processes() -> PartialState:
    """The processes of this job, which one process without a launcher is too.

    Raises:
        InputError: the environment's time limit is no number of seconds.
    """
    limit = os.environ.get(TIMEOUT, str(_TIMEOUT))
    if not limit.isdecimal() or not int(limit):
        raise InputError(f"{TIMEOUT} is '{limit}'; it must be a number of seconds.")
    started = not PartialState._shared_state
    meet(int(limit))
    state = PartialState(cpu=training_device().type == "cpu", timeout=timedelta(seconds=int(limit)))
    if started and state.num_processes > 1:
        atexit.register(leave_process_group)
    return state


def meet(seconds: int, use_cpu: bool = False) -> None:
    """Start the process group of processes that work on CPUs, where accelerate would forget the time limit."""
    on_cpu = use_cpu or training_device().type == "cpu"
    if on_cpu and int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("gloo", timeout=timedelta(seconds=seconds))


@lru_cache(maxsize=1)
def _patient_group() -> Any:
    """A group for waiting, however long the first process works alone."""
    return dist.new_group(backend="gloo", timeout=_STEP)


def wait_for_everyone() -> None:
    """Return when every process has come here."""
    if processes().num_processes > 1:
        dist.barrier(_patient_group())


def on_first(work: Callable[[], T]) -> T:
    """Let the first process do something before any other goes on; every process gets the result.

    Raises:
        InputError: on every process, what `work` raised on the first.
    """
    if processes().num_processes == 1:
        return work()
    said: list[Any] = [None, None]
    if processes().is_main_process:
        try:
            said = [work(), None]
        except (InputError, OSError) as error:
            said = [None, str(error)]
    dist.broadcast_object_list(said, group=_patient_group())
    if said[1] is not None:
        raise InputError(said[1])
    return said[0]


@contextmanager
def working_in(folder: str | Path, *, wait: bool = False) -> Iterator[None]:
    """Keep other jobs out of a folder; the job's processes count as one. See `folder_lock`.

    Raises:
        InputError: another job works there.
    """
    with ExitStack() as stack:
        on_first(lambda: require_new_folder(folder, overwrite=True))
        on_first(lambda: stack.enter_context(folder_lock(folder, wait=wait)))
        yield


def alone_in_its_folder(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator: the function has its `output_dir` (where one is given) for itself; see `folder_lock`."""

    @wraps(function)
    def alone(*args: P.args, **kwargs: P.kwargs) -> T:
        folder = signature(function).bind(*args, **kwargs).arguments.get("output_dir")
        with nullcontext() if folder is None else working_in(folder):
            return function(*args, **kwargs)

    return alone


def leave_process_group() -> None:
    """End the process group, where there is one; for the end of a process, however it ends.

    Processes that leave without it abort now and then. And a group that is destroyed while DDP's reducer holds the last
    reference to it, or while its thread is about to drop a tensor of Python's, waits with Python's lock for a thread
    that needs this lock. So reducers go first, and the thread gets its turn.
    """
    if not dist.is_available() or not dist.is_initialized():
        return
    _patient_group.cache_clear()
    gc.collect()
    time.sleep(0.1)  # gives up Python's lock
    dist.destroy_process_group()


def training_device() -> torch.device:
    """The kind of device that work is done on: the accelerator (CUDA, XPU, MPS...) where there is one, else the CPU."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")


def local_device() -> str | None:
    """This process's own accelerator under a launcher (`cuda:1`); None leaves the choice to the library."""
    kind = training_device().type
    if kind == "cpu" or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    return f"{kind}:{int(os.environ.get('LOCAL_RANK', '0')) % torch.accelerator.device_count()}"


def cpu_threads() -> int:
    """Threads for this process: its share of the cores under a launcher.

    torchrun gives every process a single thread when OMP_NUM_THREADS is not set, which leaves cores idle.
    """
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if local == 1 or os.environ.get("OMP_NUM_THREADS", "1") != "1":
        return torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // local)
