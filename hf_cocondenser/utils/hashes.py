"""Hashes of what a step's result depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from hf_cocondenser.errors import InputError
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.files import read_json
from hf_cocondenser.utils.records import FILES, file_hash
from hf_cocondenser.utils.steps import MANIFEST

_CHECKPOINT_FILES = (".json", ".safetensors", ".bin", ".model", ".txt")
_RECORDS = (
    FILES,
    "trainer_state.json",
    "training_args.bin",
    "run.json",
    "pretraining.json",
    "finetuning.json",
    "results.json",
)


def hash_texts(pairs: Iterable[tuple[str, str]]) -> str:
    """SHA-256 (hex) of ids and texts in order."""
    digest = hashlib.sha256()
    for name, text in pairs:
        for part in (name, text):
            encoded = part.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little"))
            digest.update(encoded)
    return digest.hexdigest()


def hash_weights(digest: Any, model: torch.nn.Module) -> None:
    """Put names, types, shapes and values of all weights into a digest of hashlib.

    An encoder's pooler is left out: no retriever uses it, and it may be a new random one whenever a file is loaded. (That
    of a cross-encoder lies a level deeper, `model.bert.pooler`, and counts.)
    """
    for name, tensor in sorted(model.state_dict().items()):
        if ".model.pooler." not in name:
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def folder_hash(folder: Path) -> str:
    """A hash of what a step wrote, its manifest left out: that holds the seconds it took."""
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    return hashlib.sha256("".join(f"{path.name} {file_hash(path)} " for path in files).encode()).hexdigest()


def checkpoint_hash(checkpoint: str | Path) -> str | None:
    """A hash of a checkpoint's configuration, tokenizer and weights where it is a folder, in which others may come to stand.

    Of a sentence-transformers model, those of all its modules; of what the Hub holds, None.
    """
    folder = Path(checkpoint_path(checkpoint))
    if not folder.is_dir():
        return None
    modules = read_modules(folder) if (folder / "modules.json").is_file() else []
    folders = {folder, *(folder / module for module in modules)}
    files = sorted(
        file
        for place in folders
        for file in (place.rglob("*") if place != folder else place.glob("*"))
        if file.suffix in _CHECKPOINT_FILES and file.name not in _RECORDS and file.is_file()
    )
    return hash_texts((file.relative_to(folder).as_posix(), file_hash(file)) for file in files)


def read_modules(folder: Path) -> list[str]:
    """The folders of a sentence-transformers model's modules, as its `modules.json` names them.

    Raises:
        InputError: the file is damaged.
    """
    modules = read_json(folder / "modules.json", list)
    paths: list[Any] = [module.get("path") if isinstance(module, dict) else None for module in modules]
    if not all(isinstance(path, str) and (folder / path).resolve().is_relative_to(folder.resolve()) for path in paths):
        raise InputError(
            f"'{folder / 'modules.json'}' is damaged: it must list modules with their paths in the folder."
        )
    return paths
