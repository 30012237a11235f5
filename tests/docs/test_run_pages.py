"""Blocks below a `<!-- run -->` comment, and the notebooks, do on a small corpus what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hf_cocondenser import save_retriever
from hf_cocondenser.cli.main import main
from hf_cocondenser.shipped import checkpoint_path
from tests.docs.pages import PAGES, ROOT, blocks, command_lines, own_command
from tests.docs.workspace import write_workspace

RUN = [page for page in PAGES if any(block.run for block in blocks(page))]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the examples name, as the current one."""
    write_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_run(page, workspace):
    if page.name not in ("README.md", "tutorial.md"):  # which make these themselves
        save_retriever("cocondenser-tiny", "retriever")
        os.symlink(checkpoint_path("cocondenser-tiny"), "cocondenser")
    namespace: dict = {}
    for block in blocks(page):
        if block.run and block.language == "python":
            exec(compile(block.text, block.name, "exec"), namespace)
        elif block.run:
            for words in command_lines(block):
                assert main(own_command(words)) == 0, f"{block.name}: {' '.join(words)}"


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(notebook, workspace):
    """The code cells one after the other, as a script in a process of its own."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]


def test_notebooks_carry_no_output():
    for notebook in NOTEBOOKS:
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), notebook
