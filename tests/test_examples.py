"""The example scripts run as they stand, in a small setting."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import BertConfig, BertForMaskedLM

from hf_cocondenser import SpanOptions, load_documents, prepare_spans
from hf_cocondenser.data.tokenizer import train_wordpiece
from tests import generated_texts
from tests.launch import torchrun

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(script: str, *arguments: str, folder: Path) -> str:
    """Run an example as a user would; return what it prints."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def documents(tmp_path_factory) -> Path:
    """Generated documents of several paragraphs."""
    folder = tmp_path_factory.mktemp("documents")
    texts = ["\n\n".join(paragraphs) for paragraphs in generated_texts.documents(60)]
    rows = [{"_id": str(i), "text": text} for i, text in enumerate(texts)]
    (folder / "documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return folder / "documents.jsonl"


@pytest.fixture(scope="module")
def bert(documents) -> Path:
    """A tiny encoder with random weights."""
    tokenizer = train_wordpiece([json.loads(line)["text"] for line in documents.open()], 500)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    BertForMaskedLM(config).save_pretrained(documents.parent / "bert")
    tokenizer.save_pretrained(documents.parent / "bert")
    return documents.parent / "bert"


def test_every_script_is_short():
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert len(scripts) == 6
    for script in scripts:
        assert len(script.read_text("utf-8").splitlines()) <= 60, script.name


def test_pretrain(documents, bert, tmp_path):
    run("pretrain.py", str(documents), "--model", str(bert), "--output-dir", "out", "--batch-size", "8",
        "--max-steps", "2", folder=tmp_path)  # fmt: skip
    assert "bert (a local checkpoint)" in (tmp_path / "out-encoder" / "README.md").read_text("utf-8")
    assert (tmp_path / "out" / "README.md").is_file()


def test_encoder(tmp_path):
    lines = run("encoder.py", "cocondenser-tiny", folder=tmp_path).splitlines()
    assert len(lines) == 7 and any(line.endswith(" if") for line in lines[2:])
    whales, bread = (float(line.split()[0]) for line in lines[:2])
    assert whales > bread


def test_train_further(tmp_path):
    printed = run("train_further.py", "cocondenser-tiny", "--output-dir", "out", "--epochs", "0.1", folder=tmp_path)
    assert "before" in printed and (tmp_path / "out" / "modules.json").is_file()


def test_finetune(tmp_path):
    printed = run("finetune.py", "cocondenser-tiny", "--output-dir", "out", "--max-steps", "2", folder=tmp_path)
    assert "nDCG@10" in printed
    for name in ("out", "out-further"):
        assert (tmp_path / name / "modules.json").is_file()


def test_evaluate(tmp_path):
    printed = run("evaluate.py", "cocondenser-tiny", folder=tmp_path)
    assert "p = " in printed and "without the first" in printed and not list(tmp_path.iterdir())


@pytest.mark.distributed
def test_several_processes(documents, bert, tmp_path):
    spans = tmp_path / "spans"
    prepare_spans(load_documents(str(documents)), str(bert), spans, SpanOptions(evaluation=0.2))
    torchrun(2, [EXAMPLES / "several_processes.py", spans, "--model", bert, "--output-dir", tmp_path / "out",
                 "--batch-size", "8", "--max-steps", "2"])  # fmt: skip
    assert json.loads((tmp_path / "out" / "pretraining.json").read_text())["optimisation"]["world_size"] == 2
