"""Real documents for the quickstart's tests: NumPy's own documentation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest

from hf_cocondenser.quickstart.docstrings import Docstring, read_docstrings


@pytest.fixture(scope="session")
def numpy_docstrings() -> list[Docstring]:
    """Every docstring of the installed NumPy."""
    return read_docstrings([Path(numpy.__file__).parent], processes=2)


@pytest.fixture(scope="session")
def own_documents(numpy_docstrings: list[Docstring], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSON lines file as a user may have one: titles and texts."""
    path = tmp_path_factory.mktemp("own") / "documents.jsonl"
    rows = [{"title": d.summary, "text": "\n\n".join(d.paragraphs)} for d in numpy_docstrings[:300]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
