"""Hashes of what a step's result depends on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from hf_cocondenser.files import read_json
from hf_cocondenser.finetuning.steps import MANIFEST
from hf_cocondenser.retrieval.collection import RetrievalData, hash_texts
from hf_cocondenser.shipped import checkpoint_path

_CHECKPOINT_FILES = (".json", ".safetensors", ".bin", ".model", ".txt")
_RECORDS = (
    "trainer_state.json",
    "training_args.bin",
    "run.json",
    "pretraining.json",
    "finetuning.json",
    "results.json",
)


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def folder_hash(folder: Path) -> str:
    """A hash of what a step wrote, its manifest left out: that holds the seconds it took."""
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    return hashlib.sha256("".join(f"{path.name} {file_hash(path)} " for path in files).encode()).hexdigest()


def data_hashes(data: RetrievalData) -> dict[str, str]:
    """Hashes of corpus, queries and judgements."""
    return {
        "corpus": data.corpus_hash(),
        "queries": hash_texts(data.queries.items()),
        "qrels": hashlib.sha256(json.dumps(data.qrels, sort_keys=True).encode()).hexdigest(),
    }


def checkpoint_hash(checkpoint: str | Path) -> str | None:
    """A hash of a checkpoint's configuration, tokenizer and weights where it is a folder, in which others may come to stand.

    Of a sentence-transformers model, those of all its modules; of what the Hub holds, None.
    """
    folder = Path(checkpoint_path(checkpoint))
    if not folder.is_dir():
        return None
    modules = read_json(folder / "modules.json") if (folder / "modules.json").is_file() else []
    folders = {folder, *(folder / module["path"] for module in modules)}
    files = sorted(
        file
        for place in folders
        for file in (place.rglob("*") if place != folder else place.glob("*"))
        if file.suffix in _CHECKPOINT_FILES and file.name not in _RECORDS and file.is_file()
    )
    return hash_texts((file.relative_to(folder).as_posix(), file_hash(file)) for file in files)
