"""The whole road, on real documents, in seconds; and that it leaves nothing behind when it is stopped."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, BertConfig, BertForMaskedLM

from hf_cocondenser.cli.main import main
from hf_cocondenser.data.tokenizer import train_wordpiece
from hf_cocondenser.quickstart.road import START_AND_END, Road
from hf_cocondenser.retrieval.loading import load_retrieval_data
from hf_cocondenser.retrieval.measures import evaluate_run
from hf_cocondenser.retrieval.retriever import load_retriever
from hf_cocondenser.retrieval.runs import read_run

TUNED_ONLY, BOTH = "fine-tuned, not pre-trained", "fine-tuned, pre-trained"
FROM_WEIGHTS = ["BM25", TUNED_ONLY, BOTH, "BM25 + dense, fused"]
FROM_SCRATCH = ["BM25", "untrained start", TUNED_ONLY, "pre-trained, no labels", BOTH, "BM25 + dense, fused"]


def test_from_documents_to_an_evaluated_retriever(own_documents: Path, tmp_path: Path) -> None:
    folder = tmp_path / "quickstart"
    folder.mkdir()
    record = Road(folder, START_AND_END + 8, None, own_documents, seed=3).go()
    assert record == json.loads((folder / "results.json").read_text())
    assert list(record["table"]) == FROM_SCRATCH
    # Every line of the table is what its run file gives.
    test = load_retrieval_data(folder / "collection", "test")
    for name, values in record["table"].items():
        run = read_run(folder / "runs" / f"{name.replace(',', '').replace(' ', '-')}.trec")
        for measure, mean in evaluate_run(test.qrels, run, list(values))[0].items():
            low, high = values[measure]["interval"]
            assert values[measure]["mean"] == pytest.approx(mean)
            assert low <= mean <= high
    gains = record["differences"][f"{BOTH} - {TUNED_ONLY}"]
    for measure, gain in gains.items():
        one, other = (record["table"][name][measure]["mean"] for name in (BOTH, TUNED_ONLY))
        low, high = gain["interval"]
        assert gain["mean"] == pytest.approx(one - other)
        assert low <= gain["mean"] <= high
    assert record["trainings"][BOTH]["steps"] <= record["trainings"][TUNED_ONLY]["steps"]
    assert all(training["steps"] >= 1 for training in record["trainings"].values())
    assert (folder / "losses.png").read_bytes().startswith(b"\x89PNG")
    report = (folder / "README.md").read_text()
    assert all(name in report for name in FROM_SCRATCH)
    # The retriever is the one that was measured.
    retriever = load_retriever(folder / "retriever")
    (query, text), *_ = test.queries.items()
    run = read_run(folder / "runs" / "fine-tuned-pre-trained.trec")
    best, score = max(run[query].items(), key=lambda hit: hit[1])
    vectors = retriever.encode_query([text]), retriever.encode_document([test.corpus[best]])
    assert float(np.dot(vectors[0][0], vectors[1][0])) == pytest.approx(score, rel=0.02)


def test_from_pretrained_weights(own_documents: Path, tmp_path: Path) -> None:
    texts = [json.loads(line)["text"] for line in own_documents.read_text().splitlines()]
    tokenizer = train_wordpiece(texts, 800)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=1,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    model = tmp_path / "model"
    BertForMaskedLM(config).save_pretrained(model)
    tokenizer.save_pretrained(model)
    folder = tmp_path / "quickstart"
    folder.mkdir()
    record = Road(folder, START_AND_END + 8, model, own_documents, seed=3).go()
    assert list(record["table"]) == FROM_WEIGHTS
    assert set(record["trainings"]) == {"cocondenser", TUNED_ONLY, BOTH}
    assert AutoModel.from_pretrained(folder / "retriever").config.hidden_size == 64


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--minutes", "0.2"], "too short"),
        (["--corpus", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--corpus", "few.jsonl"], "2 pairs"),
        (["--model", "no-such-model"], "no-such-model"),
        (["--output-dir", "taken"], "already exists"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    flags: list[str],
    message: str,
    own_documents: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = own_documents.read_text().splitlines(keepends=True)
    Path("few.jsonl").write_text("".join(lines[:2]))
    Path("taken").mkdir()
    Path("taken/file").touch()
    before = sorted(tmp_path.rglob("*"))
    if "--corpus" not in flags:
        flags = [*flags, "--corpus", str(own_documents)]
    assert main(["quickstart", *flags]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("hf-cocondenser quickstart: error: ")
    assert message in last
    assert sorted(tmp_path.rglob("*")) == before


def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hf_cocondenser", "quickstart", "--output-dir", str(tmp_path / "quickstart")]
    terminal, end = pty.openpty()  # the bar is drawn on terminals only, and on those with a width
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(command, stderr=end, start_new_session=True, env=dict(os.environ))
    os.close(end)
    output = ""
    deadline = time.monotonic() + 120
    while "reading docstrings:   1" not in output and time.monotonic() < deadline:
        output += os.read(terminal, 1024).decode()
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does: every process of the group gets it
    with suppress(OSError):  # how a terminal says that nobody writes any more
        while text := os.read(terminal, 1024).decode():
            output += text
    os.close(terminal)
    assert process.wait(timeout=60) == 130
    assert output.rstrip().endswith("hf-cocondenser quickstart: stopped.")
    assert "Traceback" not in output
    assert list(tmp_path.iterdir()) == []
