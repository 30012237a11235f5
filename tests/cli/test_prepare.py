"""`hf-cocondenser prepare` from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hf_cocondenser.cli.main import main
from hf_cocondenser.data import SpanDataset, load_tokenizer

TEXTS = [
    f"Document {n} has a sentence. It has another sentence about number {n}. The third ends it." for n in range(40)
]


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"_id": str(n), "text": text}) + "\n" for n, text in enumerate(TEXTS)))
    return path


def prepare(*arguments: object) -> int:
    return main(["prepare", *map(str, arguments)])


def test_train_a_tokenizer_and_prepare(corpus, tmp_path):
    out = tmp_path / "spans"
    flags = ["--train-tokenizer", 400, "--target-tokens", 9, "--min-tokens", 4, "--evaluation", 0.2]
    assert prepare(corpus, *flags, "--output-dir", out) == 0
    assert len(SpanDataset(out, pairs=True)) > 20
    # The folder is itself a place to take the tokenizer from.
    assert prepare(corpus, "--tokenizer", out, "--streaming", "--output-dir", tmp_path / "again") == 0
    assert load_tokenizer(tmp_path / "again").get_vocab() == load_tokenizer(out).get_vocab()


def test_options_from_yaml(corpus, tmp_path):
    config = tmp_path / "prepare.yaml"
    config.write_text("train-tokenizer: 400\ntarget_tokens: 16\nunit: passages\nshort_share: 1\nseed: 3\n")
    assert prepare(corpus, "--config", config, "--seed", 4, "--output-dir", tmp_path / "spans") == 0
    recipe = json.loads((tmp_path / "spans" / "manifest.json").read_text())["recipe"]
    assert (recipe["target_tokens"], recipe["unit"], recipe["short_share"], recipe["seed"]) == (16, "passages", 1.0, 4)


def test_bad_input_is_one_sentence_and_status_2(corpus, tmp_path, capsys):
    def refused(*arguments: object) -> str:
        assert prepare(*arguments, "--output-dir", tmp_path / "out") == 2
        assert not (tmp_path / "out").exists()
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert message.startswith("hf-cocondenser prepare: error: ")
        return message

    train = ["--train-tokenizer", 400]
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert "is empty" in refused(empty, *train)
    assert "does not exist" in refused(tmp_path / "none.jsonl", *train)
    assert "has no column 'body' (--text-column); there are _id, text" in refused(
        corpus, *train, "--text-column", "body"
    )
    assert "Name a tokenizer" in refused(corpus)
    assert "Name a tokenizer" in refused(corpus, *train, "--tokenizer", "bert-base-uncased")
    assert "The tokenizer of" in refused(corpus, "--tokenizer", tmp_path)
    assert "invalid choice: 'words'" in refused(corpus, *train, "--unit", "words")
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"text": "a"}\n{"text": \n')
    assert "line 2 is not valid JSON" in refused(broken, *train)
    assert "line 2 is not valid JSON" in refused(broken, *train, "--streaming")


@pytest.mark.slow
def test_a_log_has_no_bars(corpus, tmp_path):
    command = [sys.executable, "-m", "hf_cocondenser", "prepare", str(corpus), "--train-tokenizer", "400"]
    environment = {**os.environ, "HF_DATASETS_CACHE": str(tmp_path / "cache")}  # so that datasets reads the file anew
    done = subprocess.run(
        [*command, "--output-dir", "spans"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0 and "\r" not in done.stderr and "%|" not in done.stderr, done.stderr


def test_an_existing_folder_is_kept(corpus, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("kept")
    assert prepare(corpus, "--train-tokenizer", 400, "--output-dir", out) == 2
    assert "already exists" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
