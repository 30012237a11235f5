"""The example scripts run as they stand, in a small setting (examples/finetune.py is tested with fine-tuning)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import BertConfig, BertForMaskedLM

from hf_cocondenser.data.tokenizer import train_wordpiece
from tests.generated_texts import documents

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


def run(script: str, *arguments: str) -> str:
    """Run an example as a user would; return what it prints."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "examples" / script), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_pretrain_and_evaluate(tmp_path):
    """Generated documents; each is asked for by its own first line."""
    texts = {f"d{i}": "\n\n".join(paragraphs) for i, paragraphs in enumerate(documents(40))}
    data = tmp_path / "data"
    (data / "qrels").mkdir(parents=True)
    corpus, queries, qrels = [], [], ["query-id\tcorpus-id\tscore"]
    for name, text in texts.items():
        first, _, rest = text.partition("\n")
        corpus.append({"_id": name, "title": "", "text": rest, "passages": rest.split("\n\n")})
        queries.append({"_id": f"q-{name}", "text": first})
        qrels.append(f"q-{name}\t{name}\t1")
    for file, rows in (("corpus", corpus), ("documents", corpus), ("queries", queries)):
        (data / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (data / "qrels" / "test.tsv").write_text("\n".join(qrels) + "\n", "utf-8")
    tokenizer = train_wordpiece(texts.values(), 500)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    BertForMaskedLM(config).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")

    run("pretrain.py", str(data / "documents.jsonl"), "--model", str(tmp_path / "bert"), "--output-dir",
        str(tmp_path / "out"), "--max-length", "32", "--batch-size", "8", "--max-steps", "2", "--use-cpu")  # fmt: skip
    table = run("evaluate.py", str(tmp_path / "out" / "encoder"), str(data))
    figures = {line.split("|")[1].strip(): float(line.split("|")[2]) for line in table.splitlines()[2:]}
    assert set(figures) == {"BM25", "dense", "fusion"} and figures["BM25"] > 0.3
