"""examples/finetune.py, as a user would run it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "finetune.py"


def test_the_example_trains(
    make_retriever, beir_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    make_retriever().save_pretrained(str(tmp_path / "start"))
    specification = importlib.util.spec_from_file_location("finetune_example", EXAMPLE)
    example = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(example)
    command = [str(tmp_path / "start"), str(beir_folder), "--output-dir", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["finetune.py", *command, "--batch-size", "16", "--learning-rate", "1e-3"])
    example.main()
    assert "eval_dev_nDCG@10" in capsys.readouterr().out
    before, after = (SentenceTransformer(str(tmp_path / name)).encode(["w1 w2"]) for name in ("start", "out"))
    assert not np.allclose(before, after)
