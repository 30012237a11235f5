"""Writing artefacts so that a stopped process never leaves half of one behind."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.locks import folder_lock, is_alive, replace_folder, restore_replaced


def require_new_folder(
    path: str | Path, overwrite: bool = False, *, reads: Iterable[Any] | None = None, remedy: str = "add --overwrite"
) -> Path:
    """Return `path` as a `Path` when an artefact may be written there.

    Args:
        overwrite: a folder with something in it is fine too.
        reads: of an artefact that will replace the folder: what it is made from. Neither a file or folder named here
            nor the working folder may then lie in it.
        remedy: what the message offers beside another folder.

    Raises:
        InputError: it is a file, or a folder with something in it and `overwrite` is false, or it holds one of
            `reads`.
    """
    path = Path(path)
    restore_replaced(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"'{path}' is a file; name a folder to write to.")
    for parent in path.absolute().parents:
        if parent.exists():
            if not parent.is_dir():
                raise InputError(f"'{path}' cannot be made: '{parent}' is a file; name another folder to write to.")
            break
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise InputError(f"The output folder '{path}' already exists and is not empty; name a new one or {remedy}.")
    if overwrite and reads is not None:
        for needed in (Path(), *reads):
            _require_outside(needed, path)
    return path


def require_new_file(path: str | Path) -> None:
    """Check, before the work for it is done, that a file can be written; one of the name would be replaced.

    Raises:
        InputError: it is a folder, or the folder it would lie in is not there.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"'{path}' is a folder; name a file to write to.")
    if not path.parent.is_dir():
        raise InputError(f"'{path}' cannot be written: there is no folder '{path.parent}'.")


def _require_outside(needed: Any, path: Path) -> None:
    if (
        isinstance(needed, str | Path)
        and Path(needed).exists()
        and Path(needed).resolve().is_relative_to(path.resolve())
    ):
        raise InputError(f"Writing to '{path}' would replace '{Path(needed).absolute()}'; name another output folder.")


@contextmanager
def output_folder(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Give a hidden folder beside `path` to write into; rename it to `path` when the block ends well.

    On an error (or Ctrl-C) the hidden folder is removed and what stood at `path` is untouched. No other process can
    write there in the meantime.

    Raises:
        InputError: `path` exists, is not empty, and `overwrite` is false; or it holds the working folder; or another
            process works there.
    """
    path = require_new_folder(path, overwrite)
    _require_outside(Path(), path)
    with folder_lock(path):
        require_new_folder(path, overwrite)  # the lock's last holder may just have written it
        partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
        partial.mkdir()
        try:
            yield partial
            require_new_folder(path, overwrite)  # somebody may have put something there without asking for the lock
            replace_folder(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def file_name(name: str) -> str:
    """A name made fit for a file: `BM25 (bm25s lucene ...)` -> `BM25-bm25s-lucene-...`."""
    return re.sub(r"[^\w.=+-]+", "-", name).strip("-.") or "unnamed"


def absolute_if_there(place: str | Path) -> str:
    """A path that exists, made absolute, for a record that is read from elsewhere; any other name as it is."""
    return str(Path(place).absolute()) if Path(place).exists() else str(place)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all (through a temporary name in the same folder)."""
    for leftover in path.parent.glob(f".{escape(path.name)}.partial-*"):
        if not is_alive(leftover.name.rsplit("-", 1)[1]):
            leftover.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


Shape = type | tuple[type, ...] | Mapping[str, Any]
"""A type, or the keys that an object must have with the shape of each value."""


def read_json(path: Path, expect: Shape | None = None) -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        expect: what it must hold: a type such as `list`, or an object's keys with their types, as in
            `{"inputs": dict, "seconds": (int, float)}`.

    Raises:
        InputError: it does not exist, is not JSON, or holds something else than `expect`.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"'{path}' does not exist.") from None
    except IsADirectoryError:
        raise InputError(f"'{path}' is a folder and must be a file.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"'{path}' is not valid JSON ({error}).") from None
    if expect is not None and (missing := _misfit(value, expect)):
        raise InputError(f"'{path}' is damaged or of another program: it must hold {missing}.")
    return value


def _misfit(value: Any, expect: Shape, name: str = "") -> str | None:
    """What is missing from a JSON value, or None."""
    if isinstance(expect, Mapping):
        if not isinstance(value, dict):
            return f"an object{name} with {', '.join(expect)}"
        inner = (_misfit(value.get(key), shape, f" '{key}'") for key, shape in expect.items())
        return next((misfit for misfit in inner if misfit), None)
    if isinstance(value, expect) and not (isinstance(value, bool) and expect is not bool):
        return None
    kinds = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number"}
    return kinds[expect[0] if isinstance(expect, tuple) else expect] + name
