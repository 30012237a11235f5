"""The whole road, on real documents, in seconds; and that it leaves nothing behind when it is stopped."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
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
from safetensors.torch import load_file
from transformers import AutoModel, BertConfig, BertForMaskedLM

from hf_cocondenser.cli.main import main
from hf_cocondenser.data.tokenizer import train_wordpiece
from hf_cocondenser.evaluation.measures import evaluate_run
from hf_cocondenser.quickstart.quickstart import DEFAULT_MODEL, START_AND_END, Quickstart
from hf_cocondenser.quickstart.untrained import save_random_weights
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
from hf_cocondenser.retrieval.retriever import load_retriever
from hf_cocondenser.retrieval.runs import read_run
from hf_cocondenser.shipped import checkpoint_path

pytestmark = pytest.mark.slow

TUNED_ONLY, BOTH = "fine-tuned, not pre-trained", "fine-tuned, pre-trained"
RANDOM = "random weights, fine-tuned"
FROM_SCRATCH = ["BM25", "untrained start", TUNED_ONLY, "pre-trained, no labels", BOTH, "BM25 + dense, fused"]


def test_from_documents_to_an_evaluated_retriever(own_documents: Path, tmp_path: Path) -> None:
    folder = tmp_path / "quickstart"
    folder.mkdir()
    record = Quickstart(folder, START_AND_END + 8, None, own_documents, seed=3).run()
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


def rows(name: str, *beside: str) -> list[str]:
    """The lines of the table when weights are adapted."""
    tuned = [f"{other}, fine-tuned" for other in (*beside, name)]
    adapted = [f"{name} adapted, {step}" for step in ("no labels", "fine-tuned", "second round")]
    return ["BM25", RANDOM, *tuned, *adapted, "BM25 + dense, fused"]


def test_from_the_shipped_checkpoint(own_documents: Path, tmp_path: Path) -> None:
    folder = tmp_path / "quickstart"
    folder.mkdir()
    record = Quickstart(folder, START_AND_END + 12, DEFAULT_MODEL, own_documents, seed=3).run()
    assert list(record["table"]) == rows("cocondenser-tiny")
    assert all(training["steps"] >= 1 for training in record["trainings"].values())
    # The last round is what is kept, and what was measured.
    test = load_retrieval_data(folder / "collection", "test")
    retriever = load_retriever(folder / "retriever")
    run = read_run(folder / "runs" / "cocondenser-tiny-adapted-second-round.trec")
    (query, text), *_ = test.queries.items()
    best, score = max(run[query].items(), key=lambda hit: hit[1])
    vectors = retriever.encode_query([text]), retriever.encode_document([test.corpus[best]])
    assert float(np.dot(vectors[0][0], vectors[1][0])) == pytest.approx(score, rel=0.02)
    assert "cocondenser-tiny, fine-tuned - random weights, fine-tuned" in record["differences"]


def test_from_other_weights_with_one_more_beside(own_documents: Path, tmp_path: Path) -> None:
    texts = [json.loads(line)["text"] for line in own_documents.read_text().splitlines()]
    tokenizer = train_wordpiece(texts, 800)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=1,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    for name in ("model", "twin"):
        torch.manual_seed(len(name))
        BertForMaskedLM(config).save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    folder = tmp_path / "quickstart"
    folder.mkdir()
    beside = {"twin": tmp_path / "twin"}
    record = Quickstart(folder, START_AND_END + 8, tmp_path / "model", own_documents, seed=3, beside=beside).run()
    assert list(record["table"]) == rows("model", "twin")
    assert set(record["trainings"]) == {
        "cocondenser", *(name for name in rows("model", "twin")[1:-1] if "no labels" not in name)
    }  # fmt: skip
    assert "model, fine-tuned - twin, fine-tuned" in record["differences"]
    assert AutoModel.from_pretrained(folder / "retriever").config.hidden_size == 64


def test_random_weights_are_of_the_shape_and_the_seed(tmp_path: Path) -> None:
    one, other, again = (save_random_weights(DEFAULT_MODEL, tmp_path / str(i), i % 2) for i in range(3))
    weights = [load_file(folder / "model.safetensors") for folder in (one, other, again)]
    trained = AutoModel.from_pretrained(checkpoint_path(DEFAULT_MODEL)).state_dict()
    key = "encoder.layer.0.attention.self.query.weight"
    assert weights[0][key].shape == trained[f"backbone.{key}"].shape
    assert torch.equal(weights[0][key], weights[2][key]) and not torch.equal(weights[0][key], weights[1][key])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--minutes", "0.2"], "too short"),
        (["--corpus", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--corpus", "few.jsonl"], "2 pairs"),
        (["--model", "no-such-model"], "no-such-model"),
        (["--beside", "twin"], "NAME=CHECKPOINT"),
        (["--beside", "twin=no-such-model"], "no-such-model"),
        (["--beside", "cocondenser-tiny=elsewhere"], "name of its own"),
        (["--beside", "a/b=elsewhere"], "name of its own"),
        (["--beside", "random-weights=elsewhere"], "name of its own"),
        (["--beside", "cocondenser-tiny adapted=elsewhere"], "name of its own"),
        (["--beside", "a b=elsewhere", "a-b=elsewhere"], "name of its own"),
        (["--beside", "twin=one", "twin=other"], "given twice"),
        (["--seed", "-1"], "seed is -1; it must lie between 0"),
        (["--from-scratch", "--beside", "twin=cocondenser-tiny"], "not beside --from-scratch"),
        (["--from-scratch", "--model", "no-such-model"], "leave it or --model no-such-model out"),
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


@pytest.mark.parametrize(("own", "moment"), [(False, r"reading docstrings: +[1-9]"), (True, r"fine-tuned: .*loss")])
def test_ctrl_c_ends_it_cleanly(own: bool, moment: str, own_documents: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hf_cocondenser", "quickstart", "--output-dir", str(tmp_path / "quickstart")]
    command += ["--corpus", str(own_documents)] if own else []
    terminal, end = pty.openpty()  # the bar is drawn on terminals only, and on those with a width
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(command, stderr=end, start_new_session=True, env=dict(os.environ))
    os.close(end)
    output = ""
    deadline = time.monotonic() + 120
    while not re.search(moment, output) and time.monotonic() < deadline:
        output += os.read(terminal, 1024).decode(errors="replace")  # a read may end within a character
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does: every process of the group gets it
    with suppress(OSError):  # how a terminal says that nobody writes any more
        while text := os.read(terminal, 1024).decode(errors="replace"):
            output += text
    os.close(terminal)
    assert re.search(moment, output)
    assert process.wait(timeout=60) == 130
    assert output.rstrip().endswith("hf-cocondenser quickstart: stopped.")
    assert "Traceback" not in output
    assert list(tmp_path.iterdir()) == []
