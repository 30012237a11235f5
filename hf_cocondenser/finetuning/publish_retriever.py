"""The end of fine-tuning: the output folder becomes the retriever."""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hf_cocondenser.hub.card import CARD_FILE, RESULTS_FILE, Result, is_edited, write_card
from hf_cocondenser.hub.records import card_from_records
from hf_cocondenser.utils.files import read_json, write_json
from hf_cocondenser.utils.hashes import file_hash

logger = logging.getLogger(__name__)

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
    files = {entry.name for entry in retriever.iterdir()}
    if result is not None:
        write_json(output_dir / RESULTS_FILE, [asdict(result)])
        files.add(RESULTS_FILE)
    elif before.is_file() and RESULTS_FILE in read_json(before).get("files", []):
        (output_dir / RESULTS_FILE).unlink(missing_ok=True)  # measured with an earlier model or configuration
    write_json(output_dir / SUMMARY, {**summary, "files": sorted(files)})
    if is_edited(output_dir / CARD_FILE):
        logger.warning("'%s' was edited, so it stays as it is.", output_dir / CARD_FILE)
    else:
        write_card(output_dir, card_from_records(output_dir))


def _differs(one: Path, two: Path) -> bool:
    files = [path.relative_to(one) for path in one.rglob("*") if path.is_file()]
    return any(not (two / file).is_file() or file_hash(one / file) != file_hash(two / file) for file in files)
