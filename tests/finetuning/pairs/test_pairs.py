"""The stage on pairs: sources and their mixture, labels of a batch, and the two stages on a tiny collection."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from hf_cocondenser.cli.main import main
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import PairsConfig
from hf_cocondenser.finetuning.finetune import finetune
from hf_cocondenser.finetuning.fresh_t5 import fresh_t5_config, is_fresh_t5
from hf_cocondenser.finetuning.pairs.sources import Pair, mixed_pairs, open_pairs, parse_source, shares
from hf_cocondenser.finetuning.pairs.stream import PairBatches, pair_labels, with_negatives
from hf_cocondenser.finetuning.recipes import finetune_options
from hf_cocondenser.finetuning.retriever_start import load_starting_point
from hf_cocondenser.finetuning.trainer import PairTrainer
from hf_cocondenser.hub.card import FROM_SCRATCH


def gtr(**options) -> RetrieverTrainingArguments:
    """The training arguments of GTR's recipe."""
    return finetune_options("gtr", **options).args


SMALL = {
    "projection": 24,
    "per_device_train_batch_size": 8,
    "max_steps": 4,
    "learning_rate": 1e-2,
    "eval_steps": 0.5,
    "bf16": False,
    "passage_length": 32,
    "rounds": 1,
}
MINING = {"bm25_depth": 30, "bm25_negatives": 6}


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def qa_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pairs of words of one topic."""
    rng = np.random.default_rng(5)
    topics = rng.integers(0, 24, 60) * 8
    rows = [
        {
            "id": f"p{i}",
            "question": " ".join(f"w{topic + j}" for j in rng.integers(0, 8, 3)),
            "answer": " ".join(f"w{topic + j}" for j in rng.integers(0, 8, 6)),
        }
        for i, topic in enumerate(topics)
    ]
    return write(tmp_path_factory.mktemp("pairs") / "qa.jsonl", rows)


def test_sources_of_every_kind(tmp_path: Path, beir_folder: Path, qa_file: Path):
    beir = open_pairs(str(beir_folder))
    assert beir.size == 64 + 16  # four queries on each of 16 topics, the first with two documents
    pairs = list(beir.rows(0, 0))
    assert sorted(pairs) == sorted(beir.rows(0, 1)) != pairs and list(beir.rows(0, 0)) == pairs
    lists = write(tmp_path / "lists.jsonl", [{"query": "q", "pos": ["a", "b"]}] * 40)
    assert {pair.positive for pair in open_pairs(str(lists)).rows(0, 0)} == {"a", "b"}
    (tmp_path / "forum.csv").write_text("title,body\nhow,so\n")
    assert list(open_pairs(str(tmp_path / "forum.csv")).rows(0, 0)) == [Pair("how", "so")]
    (tmp_path / "two.tsv").write_text("left\tright\nhow do cats sleep\tthey curl up\n")
    named_one = open_pairs(str(tmp_path / "two.tsv"), query_column="left")
    assert list(named_one.rows(0, 0)) == [Pair("how do cats sleep", "they curl up")]
    with pytest.raises(InputError, match="is a header cannot be told"):
        open_pairs(str(tmp_path / "two.tsv"))
    named = open_pairs(str(qa_file), query_column="answer", positive_column="question", buffer=0)
    first = json.loads(qa_file.read_text().splitlines()[0])
    assert next(named.rows(0, 0)) == Pair(first["answer"], first["question"]) and named.size == 60
    for buffer in (10, 100):  # streamed, and kept
        shuffled = open_pairs(str(qa_file), buffer=buffer)
        assert list(shuffled.rows(1, 0)) == list(shuffled.rows(1, 0)) != list(shuffled.rows(1, 1))
        assert sorted(shuffled.rows(1, 0)) == sorted(shuffled.rows(2, 5)) and shuffled.size == 60


def test_weights_and_names(tmp_path: Path):
    assert parse_source("a.jsonl:2.5") == ("a.jsonl", 2.5) and parse_source("org/set") == ("org/set", None)
    assert parse_source("C:/data/a.jsonl") == ("C:/data/a.jsonl", None)
    (tmp_path / "a:3").write_text("")
    assert parse_source(str(tmp_path / "a:3")) == (str(tmp_path / "a:3"), None)
    with pytest.raises(InputError, match="above 0"):
        parse_source("a.jsonl:0")


def test_columns_of_numbers_are_no_texts(tmp_path: Path):
    (tmp_path / "pairs.csv").write_text("asked,said,votes\nwhy,because,12\n")
    assert list(open_pairs(str(tmp_path / "pairs.csv")).rows(0, 0)) == [Pair("why", "because")]


def test_the_mixture_has_its_shares(tmp_path: Path):
    for name, number in (("a", 90), ("b", 10)):
        write(tmp_path / f"{name}.jsonl", [{"question": name, "answer": str(i)} for i in range(number)])
    plain = [open_pairs(str(tmp_path / f"{name}.jsonl")) for name in "ab"]
    assert shares(plain, 1.0) == pytest.approx([0.9, 0.1])
    assert shares(plain, 2.0) == pytest.approx([0.75, 0.25])
    weighted = [open_pairs(f"{tmp_path}/{name}.jsonl:{weight}") for name, weight in (("a", 1), ("b", 3))]
    assert shares(weighted, 1.0) == [0.25, 0.75]
    drawn = list(itertools.islice(mixed_pairs(weighted, 1.0, seed=3), 4000))
    assert drawn == list(itertools.islice(mixed_pairs(weighted, 1.0, seed=3), 4000))
    counts = Counter(pair.query for pair in drawn)
    assert abs(counts["b"] / 4000 - 0.75) < 0.03
    # A source is gone through again and again, each pair as often as the others.
    times = Counter(pair.positive for pair in drawn if pair.query == "b").values()
    assert len(times) == 10 and max(times) - min(times) <= 1
    with pytest.raises(InputError, match=r"every source .* or none"):
        shares([plain[0], weighted[1]], 1.0)


def test_labels_know_equal_questions_and_answers():
    pairs = [Pair("What?", "one"), Pair("who?", "two"), Pair("what?", "Three"), Pair("when?", "two")]
    labels = pair_labels(pairs)
    keys = labels[:, 0].tolist()
    assert keys[1] == keys[3] and len(set(keys)) == 3 and min(keys) >= 0
    assert set(labels[0, 1:].tolist()) == set(labels[2, 1:].tolist()) == {keys[0], keys[2]}
    assert labels[1, 1:].tolist() == [keys[1], -1]
    # A negative of one pair gives every pair of the batch one: its own, or the next pair's answer.
    pairs[1] = Pair("who?", "two", "four")
    assert [row[2] for row in with_negatives(pairs)] == ["two", "four", "two", "one"]
    labels = pair_labels(pairs)
    assert (
        labels.shape == (4, 4)
        and labels[0, 1] == keys[1]
        and labels[1].tolist() == [keys[1], labels[1, 1], keys[1], -1]
    )


def test_two_processes_share_one_batch(qa_file: Path, t5_folder: Path, tmp_path: Path):
    model = load_starting_point(t5_folder, gtr(**SMALL))
    source = open_pairs(str(qa_file))

    def batches(rank: int, world: int, start: int = 0) -> list[dict]:
        found = PairBatches(model, lambda: mixed_pairs([source], 1.0, seed=1), 8 // world, rank, world)
        found.start = start
        return list(itertools.islice(iter(found), 3))

    whole, halves = batches(0, 1), [batches(rank, 2) for rank in (0, 1)]
    for number, batch in enumerate(whole):
        assert torch.equal(torch.cat([half[number]["label"] for half in halves]), batch["label"])
        rows = [half[number]["query_input_ids"] for half in halves]
        tokens = [row[row != 0].tolist() for part in rows for row in part]
        assert tokens == [row[row != 0].tolist() for row in batch["query_input_ids"]]
        assert batch["query_task"] == "query" and batch["passage_task"] == "document"
    assert torch.equal(batches(0, 1, start=2)[0]["passage_input_ids"], whole[2]["passage_input_ids"])


@pytest.fixture(scope="module")
def two_stages(t5_folder: Path, qa_file: Path, beir_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stages by the command line, from two sources."""
    target = tmp_path_factory.mktemp("stages") / "both"
    options = [f"--{name.replace('_', '-')}={value}" for name, value in {**SMALL, **MINING}.items()]
    command = ["finetune", str(t5_folder), "--recipe", "gtr", "--data", str(beir_folder), "--output-dir", str(target)]
    command += ["--pairs", f"{qa_file}:1", f"{beir_folder}:2", "--pairs-steps", "6", "--pairs-learning-rate", "0.02"]
    assert main([*command, *options]) == 0
    return target


def test_fine_tuning_begins_with_the_weights_of_the_pairs_and_a_new_optimizer(two_stages: Path):
    steps = two_stages / "steps"
    pairs, round1 = (json.loads((steps / name / "manifest.json").read_text()) for name in ("pairs", "round1"))
    assert pairs["result"]["pairs"] == 48 and pairs["result"]["steps"] == 6
    assert round1["inputs"]["start"] == pairs["result"]["model_hash"] != round1["result"]["model_hash"]
    assert {"nDCG@10", "MRR@10"} <= pairs["result"]["dev"].keys()
    first, second = (
        [json.loads(line) for line in (steps / name / "log.jsonl").read_text().splitlines()]
        for name in ("pairs", "round1")
    )
    rates = [line["learning_rate"] for line in first if "learning_rate" in line]
    assert rates == pytest.approx([0.02 * (6 - step) / 6 for step in range(6)])  # linear, to zero
    assert next(line["learning_rate"] for line in second if "learning_rate" in line) == pytest.approx(0.01)
    assert not list(steps.rglob("optimizer.*"))
    card = (two_stages / "README.md").read_text()
    assert "Training on pairs: qa.jsonl:1, collection" in card and "48 pairs in 6 steps" in card


def test_ablations_by_one_flag(two_stages: Path, t5_folder: Path, qa_file: Path, beir_folder: Path, tmp_path: Path):
    sources = [f"{qa_file}:1", f"{beir_folder}:2"]
    weights = {"both": load_file(two_stages / "model.safetensors")}
    for stages in ("pretrain", "finetune"):
        pairs = {"stages": stages, "pairs": sources, "pairs_steps": 6, "pairs_learning_rate": 0.02}
        options = {**SMALL, **MINING, **pairs}
        summary = finetune(t5_folder, beir_folder, tmp_path / stages, recipe="gtr", **options)
        assert list(summary["steps"]) == (["pairs"] if stages == "pretrain" else ["bm25", "round1"])
        weights[stages] = load_file(tmp_path / stages / "model.safetensors")
    before = load_file(two_stages / "steps" / "pairs" / "retriever" / "model.safetensors")
    assert all(
        torch.equal(before[name], weights["pretrain"][name]) for name in before
    )  # PT is the first stage of both
    assert any(not torch.equal(weights["both"][name], weights["finetune"][name]) for name in before)
    assert "not fine-tuned" not in (tmp_path / "pretrain" / "README.md").read_text()


def test_a_stopped_stage_goes_on_to_the_same_weights(
    t5_folder: Path, qa_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = finetune_options("gtr", **{**SMALL, "dropout": 0.1, "save_steps": 0.5}).args
    pairs = PairsConfig(stages="pretrain", pairs=[str(qa_file)], pairs_steps=8)
    finetune(t5_folder, None, tmp_path / "whole", config, pairs=pairs)
    steps, compute_loss = itertools.count(), PairTrainer.compute_loss

    def stop(self, *args, **kwargs):
        if next(steps) == 6:
            raise KeyboardInterrupt
        return compute_loss(self, *args, **kwargs)

    monkeypatch.setattr(PairTrainer, "compute_loss", stop)
    with pytest.raises(KeyboardInterrupt):
        finetune(t5_folder, None, tmp_path / "stopped", config, pairs=pairs)
    assert list((tmp_path / "stopped" / "steps" / "pairs.partial" / "training").glob("checkpoint-4"))
    finetune(t5_folder, None, tmp_path / "stopped", config, pairs=pairs)
    assert next(steps) == 7 + 4  # four steps were left, and are not done twice
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_fresh_encoder_from_pairs_alone(qa_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    command = ["finetune", "t5:1x64", "--recipe", "gtr", "--stages", "pretrain", "--pairs", str(qa_file)]
    with caplog.at_level("INFO"):
        assert main([*command, "--pairs-steps", "2", *options, "--output-dir", str(tmp_path / "fresh")]) == 0
    assert "step 2 of 2: loss " in caplog.text  # lines, not bars, where there is no terminal
    model = SentenceTransformer(str(tmp_path / "fresh"))
    assert model[0].auto_model.config.num_layers == 1 and model[0].auto_model.config.d_model == 64
    ids = model.tokenizer("w1 w2")["input_ids"]
    assert model.tokenizer.unk_token_id not in ids and len(model.tokenizer) == model[0].auto_model.config.vocab_size
    assert FROM_SCRATCH in (tmp_path / "fresh" / "README.md").read_text()


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ([], [], "is empty"),
        ([{"x": "a", "y": "b", "z": "c"}], [], "cannot be told; there are x, y, z"),
        ([{"question": "a", "answer": {"b": 3}}], ["--positive-column", "answer"], "holds no texts"),
        ([{"question": "a", "answer": "b"}], ["--positive-column", "reply"], "no column 'reply'"),
        ([{"question": "a", "answer": ""}], [], "no pair with a question and an answer"),
        ([{"question": "a", "answer": "b"}], ["--pairs-steps", "0"], "--pairs-steps is 0"),
    ],
)
def test_bad_pairs(t5_folder: Path, tmp_path: Path, capsys, rows: list[dict], options: list[str], words: str):
    source = write(tmp_path / "bad.jsonl", rows)
    command = ["finetune", str(t5_folder), "--stages", "pretrain", "--pairs", str(source), *options]
    assert main([*command, "--batch-size", "2", "--output-dir", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out" / "modules.json").exists()


def test_what_stages_need(t5_folder: Path, tmp_path: Path, capsys):
    for options, words in (
        (["--stages", "pretrain"], "no pairs to pre-train on"),
        ([], "--data"),
        (["--stages", "pretrain", "--pairs", str(tmp_path / "none.jsonl")], "none.jsonl' does not exist"),
    ):
        assert main(["finetune", str(t5_folder), *options, "--output-dir", str(tmp_path / "out")]) == 2
        assert words in capsys.readouterr().err
    for shape in ("t5:2", "t5:0x64", "t5:2x50"):
        with pytest.raises(InputError, match=shape):
            is_fresh_t5(shape)
            fresh_t5_config(shape, 100)
    assert is_fresh_t5("t5:2x64") and not is_fresh_t5(tmp_path)
