"""The quickstart's first step: texts and queries as a BEIR folder, from installed documentation or own documents."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hf_cocondenser.data.documents import load_documents
from hf_cocondenser.quickstart.collection import distinct_entries, write_collection
from hf_cocondenser.quickstart.docstrings import read_docstrings
from hf_cocondenser.quickstart.entries import documentation_entries, own_entries

logger = logging.getLogger(__name__)


def build_collection(
    output_dir: str | Path, corpus: str | Path | None = None, *, most: int | None = None, processes: int = 2
) -> dict[str, Any]:
    """Write the collection to search and to learn from as a BEIR folder with `documents.jsonl`; return its counts.

    Args:
        output_dir: the folder to write.
        corpus: own documents, as `load_documents` takes them; the installed packages' docstrings when None.
        most: texts at most; beyond it a choice by the hash of their ids.
        processes: how many files are parsed at a time.

    Raises:
        InputError: the documents cannot be read, or give too few pairs of a query and a text.
    """
    if corpus is None:
        entries = distinct_entries(documentation_entries(read_docstrings(processes=processes)), most)
    else:
        entries = distinct_entries(own_entries(load_documents(corpus)), most)
    report = write_collection(entries, output_dir)
    logger.info("Collection: %s.", ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in report.items()))
    return report
