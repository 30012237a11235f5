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
from hf_cocondenser.utils.records import changed_file, describe_files, read_record, write_record

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
    files = describe_files(retriever)
    if not (output_dir / SUMMARY).is_file() or changed_file(output_dir, files):
        partial = output_dir / ".retriever.partial"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            shutil.copytree(retriever, partial)  # a full disk shows here, before anything is replaced
            for name in _published(output_dir):
                path = output_dir / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            for name in sorted(files, key=lambda name: name == "modules.json"):
                (output_dir / name).parent.mkdir(parents=True, exist_ok=True)
                (partial / name).replace(output_dir / name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    names = [*files, SUMMARY, CARD_FILE]
    if result is not None:
        write_json(output_dir / RESULTS_FILE, [asdict(result)])
        names.append(RESULTS_FILE)
    elif RESULTS_FILE in _published(output_dir):
        (output_dir / RESULTS_FILE).unlink(missing_ok=True)  # measured with an earlier model or configuration
    write_json(output_dir / SUMMARY, summary)
    if is_edited(output_dir / CARD_FILE):
        logger.warning("'%s' was edited, so it stays as it is.", output_dir / CARD_FILE)
    else:
        write_card(output_dir, card_from_records(output_dir))
    write_record(output_dir, [output_dir / name for name in names])


def _published(output_dir: Path) -> list[str]:
    """What an earlier call put into the folder; `modules.json` first, as the folder is no retriever while they go."""
    record = read_record(output_dir)
    names = list(record["files"]) if record else []
    if not names and (output_dir / SUMMARY).is_file():  # of an earlier version
        names = list(read_json(output_dir / SUMMARY, dict).get("files", []))
    kept = (SUMMARY, CARD_FILE)
    return sorted((name for name in names if name not in kept), key=lambda name: name != "modules.json")
