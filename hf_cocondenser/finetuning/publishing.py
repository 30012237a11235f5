"""The end of fine-tuning: the output folder becomes the retriever."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hf_cocondenser.files import read_json, write_json
from hf_cocondenser.finetuning.steps import MANIFEST
from hf_cocondenser.hub.card import RESULTS_FILE, Result, write_card
from hf_cocondenser.hub.records import card_from_records
from hf_cocondenser.retrieval.collection import RetrievalData, hash_texts

SUMMARY = "finetuning.json"


def publish(output_dir: Path, retriever: Path, summary: dict[str, Any], result: Result | None) -> None:
    """Make the output folder the retriever; `modules.json`, by which it is known as one, comes last.

    Args:
        output_dir: the folder; what an earlier retriever left there goes, what others put there stays.
        retriever: what to publish.
        summary: becomes `finetuning.json`.
        result: development measures for the card.
    """
    before = output_dir / SUMMARY
    if not before.is_file() or _differs(retriever, output_dir):
        for name in read_json(before).get("files", []) if before.is_file() else []:
            path = output_dir / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for entry in sorted(retriever.iterdir(), key=lambda path: path.name == "modules.json"):
            if entry.is_dir():
                shutil.copytree(entry, output_dir / entry.name, dirs_exist_ok=True)
            else:
                shutil.copyfile(entry, output_dir / entry.name)
    summary = {**summary, "files": sorted(entry.name for entry in retriever.iterdir())}
    if result is not None:
        write_json(output_dir / RESULTS_FILE, [asdict(result)])
    write_json(output_dir / SUMMARY, summary)
    write_card(output_dir, card_from_records(output_dir))


def _differs(one: Path, two: Path) -> bool:
    files = [path.relative_to(one) for path in one.rglob("*") if path.is_file()]
    return any(not (two / file).is_file() or file_hash(one / file) != file_hash(two / file) for file in files)


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
