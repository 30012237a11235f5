"""One process at a time in a folder, and folders that are replaced whole or not at all."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from hf_cocondenser.errors import InputError

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

_held: dict[Path, int] = {}  # the locks of this process, and how many blocks hold each


@contextmanager
def folder_lock(folder: str | Path, *, wait: bool = False) -> Iterator[None]:
    """Hold `.NAME.lock` beside a folder, so that no other process writes there. Blocks of one process may be nested.

    A process that dies lets go of it, and the children that it forked do not hold it (it is a POSIX record lock).
    What killed processes left beside the folder is cleared away.

    Args:
        folder: the folder, which need not exist.
        wait: wait for the other process instead of refusing.

    Raises:
        InputError: another process works in the folder.
    """
    folder = Path(folder).absolute()
    path = lock_file(folder)
    if sys.platform == "win32" or path in _held:
        _held[path] = _held.get(path, 0) + 1
        try:
            yield
        finally:
            _held[path] -= 1
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(path, folder, wait)
    _held[path] = 1
    try:
        clear_leftovers(folder)
        yield
    finally:
        del _held[path]
        path.unlink(missing_ok=True)
        os.close(descriptor)


def lock_file(folder: Path) -> Path:
    """Where a folder's lock is; it is there while a process works in the folder, or was killed there."""
    folder = folder.absolute()
    if folder.is_dir() and not os.access(folder.parent, os.W_OK):  # a mounted folder, say
        return folder / ".lock"
    return folder.with_name(f".{folder.name}.lock")


def _acquire(path: Path, folder: Path, wait: bool) -> int:
    told = False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            os.close(descriptor)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            who = f"another process ({holder})" if holder else "another process"
            if not wait:
                raise InputError(
                    f"'{folder}': {who} works in this folder; wait for it, or name another one."
                ) from None
            if not told:
                logger.info("Waiting for %s, which works in '%s'.", who, folder)
                told = True
            time.sleep(0.2)
            continue
        if _is_the_file(descriptor, path):
            os.truncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
            return descriptor
        os.close(descriptor)  # its last holder has just removed it


def _is_the_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def replace_folder(new: Path, path: Path) -> None:
    """Put `new` in the place of `path`, which is restorable until the last moment."""
    replaced = path.with_name(f".{path.name}.replaced-{os.getpid()}")
    if path.exists():
        path.rename(replaced)
    new.rename(path)
    shutil.rmtree(replaced, ignore_errors=True)


def restore_replaced(path: str | Path, *, locked: bool = False) -> None:
    """Put a folder back whose replacing was stopped between its two renames; nothing happens where it stands.

    Args:
        path: the folder.
        locked: the caller holds its lock, so that the process that was replacing it is dead whatever has its number now.
    """
    path = Path(path).absolute()
    if path.exists() or not path.name or not path.parent.is_dir():
        return
    for replaced in sorted(path.parent.glob(f".{escape(path.name)}.replaced-*")):
        if locked or not is_alive(replaced.name.rsplit("-", 1)[1]):
            replaced.rename(path)
            logger.warning("'%s' was being replaced when that process was killed; what stood there is back.", path)
            return


def is_alive(process: str) -> bool:
    """Whether there is a process of this number; one that cannot be asked counts as alive."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, OverflowError):
        return True
    return True


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes left beside a folder; the caller holds the lock of it or of one above."""
    restore_replaced(folder, locked=True)
    for kind in ("partial", "replaced"):
        for leftover in folder.parent.glob(f".{escape(folder.name)}.{kind}-*"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
