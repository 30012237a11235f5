"""`files.json`: what an artefact consists of, with sizes and checksums."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.files import read_json, write_json

logger = logging.getLogger(__name__)

FILES = "files.json"

Files = dict[str, dict[str, Any]]
"""Path below the folder -> `bytes` and `sha256`."""


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def describe_files(folder: Path, paths: Iterable[Path] | None = None) -> Files:
    """Sizes and checksums of the files below a folder (by default of all but hidden ones and the record itself)."""
    if paths is None:
        paths = (path for path in folder.rglob("*") if path.is_file() and path != folder / FILES)
        paths = (path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": file_hash(path)}
        for path in sorted(paths)
    }


def write_record(folder: Path, paths: Iterable[Path] | None = None, **more: Any) -> None:
    """Write `files.json`: what `describe_files` says, and `more`."""
    write_json(folder / FILES, {"files": describe_files(folder, paths), **more})


def read_record(folder: Path) -> dict[str, Any] | None:
    """What `write_record` wrote, or None.

    Raises:
        InputError: it is damaged.
    """
    return read_json(folder / FILES, {"files": dict}) if (folder / FILES).is_file() else None


def changed_file(folder: Path, files: Files, suffixes: tuple[str, ...] = ("",), *, read: bool = True) -> str | None:
    """The first of the recorded files that is missing or not what was written; None where all are.

    Args:
        folder: where they are.
        files: the record.
        suffixes: look at files that end so only.
        read: compare checksums too, not only sizes.
    """
    for name, recorded in files.items():
        path = folder / name
        if not name.endswith(suffixes):
            continue
        if not path.is_file() or not isinstance(recorded, dict) or path.stat().st_size != recorded.get("bytes"):
            return name
        if read and recorded.get("sha256") != file_hash(path):
            return name
    return None


def require_unchanged(folder: str | Path, suffix: str, remedy: str) -> None:
    """Refuse an artefact whose files are damaged; one without a record (of an earlier version) passes.

    Raises:
        InputError: a file that ends in `suffix` is not what was written.
    """
    if path := _changed_below(folder, suffix):
        raise InputError(f"'{path}' is damaged: it is missing or not the file that was written; {remedy}.")


def warn_of_changed_weights(folder: str | Path) -> None:
    """Say so where a model's weights are not those that were written; somebody may have changed them on purpose."""
    if path := _changed_below(folder, ".safetensors"):
        logger.warning("'%s' is not the file that was written: it was changed since, or is damaged.", path)


def _changed_below(folder: str | Path, suffix: str) -> Path | None:
    folder = Path(folder)
    record = read_record(folder) if folder.is_dir() else None
    name = record and changed_file(folder, record["files"], (suffix,))
    return folder / name if name else None
