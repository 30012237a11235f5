"""`pretrain` from a real span folder: both stages, resumable, under torchrun; and what it says to bad input."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from huggingface_hub import constants
from transformers import BertConfig

from hf_cocondenser import CondenserConfig, CondenserForPreTraining
from hf_cocondenser.cli.main import main
from hf_cocondenser.data.cutting import SpanOptions
from hf_cocondenser.data.documents import FEATURES
from hf_cocondenser.data.prepare import prepare_spans
from hf_cocondenser.data.tokenizer import load_tokenizer, train_wordpiece
from hf_cocondenser.errors import InputError
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments, ModelOptions
from hf_cocondenser.pretraining.pretrain import pretrain
from hf_cocondenser.pretraining.record import scale_like
from tests.launch import ROOT, kill_when, torchrun

SHORT = [
    "--use-cpu",
    "--max-steps",
    "4",
    "--logging-steps",
    "2",
    "--per-device-train-batch-size",
    "8",
]
SMALL = ["bert:2x64", "--dropout", "0.1", "--max-length", "32", "--learning-rate", "1e-3", "--temperature", "8"]


@pytest.fixture(scope="session")
def spans(tmp_path_factory) -> Path:
    """Documents of this project's own source files, as spans of a small vocabulary."""
    files = sorted((ROOT / "hf_cocondenser").rglob("*.py"))
    rows = [
        {"_id": str(file.relative_to(ROOT)), "title": file.stem, "passages": file.read_text("utf-8").split("\n\n")}
        for file in files
        if file.stat().st_size > 2000
    ]
    documents = Dataset.from_list(rows, features=FEATURES)
    tokenizer = train_wordpiece(("\n".join(row["passages"]) for row in rows), 500)
    folder = tmp_path_factory.mktemp("spans") / "spans"
    options = SpanOptions(target_tokens=24, min_tokens=4, evaluation=8)
    prepare_spans(documents, tokenizer, folder, options)
    return folder


@pytest.fixture(scope="session")
def condenser(spans, tmp_path_factory) -> Path:
    """A checkpoint of the Condenser stage, by the command."""
    output = tmp_path_factory.mktemp("condenser") / "checkpoint"
    command = ["pretrain", *SMALL, "--spans", str(spans), "--stage", "condenser", "--output-dir", str(output), *SHORT]
    assert main(command) == 0
    return output


def test_both_stages_by_the_command(condenser, spans, tmp_path, capfd, caplog):
    caplog.set_level("INFO")
    output = tmp_path / "cocondenser"
    options = ["--max-length", "32", "--temperature", "8", "--eval-strategy", "steps", "--eval-steps", "2"]
    command = ["pretrain", str(condenser), "--spans", str(spans), "--output-dir", str(output), *options, *SHORT]
    assert main(command) == 0
    model = CondenserForPreTraining.from_pretrained(output)
    assert model.config.hidden_size == 64
    record = json.loads((output / "pretraining.json").read_text())
    assert record["stage"] == "cocondenser" and record["steps"] == 4 and record["tokens"] > 500
    assert record["earlier_stage"]["stage"] == "condenser"
    evaluated = [entry for entry in record["log"] if "eval_loss" in entry]
    assert len(evaluated) == 2 and evaluated[0]["eval_negatives_per_span"] == 14
    assert "step 4 of 4: eval_loss " in caplog.text and "\r" not in capfd.readouterr().err  # no terminal, no bars
    assert (output / "tokenizer.json").is_file()


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(spans, tmp_path):
    """kill -9 between checkpoints, the same command again: bit-equal to a run that was left alone."""
    options = ["--spans", str(spans), "--max-length", "32", "--temperature", "8", "--use-cpu", "--max-steps", "40",
               "--per-device-train-batch-size", "8", "--save-steps", "5", "--logging-steps", "5"]  # fmt: skip
    start = ["bert:2x64", "--dropout", "0.1"]
    assert main(["pretrain", *start, "--output-dir", str(tmp_path / "through"), *options]) == 0
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "hf_cocondenser",
        "pretrain",
        *start,
        "--output-dir",
        str(tmp_path / "killed"),
        *options,
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    kill_when(process, (tmp_path / "killed" / "checkpoint-10" / "trainer_state.json").is_file)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    one = CondenserForPreTraining.from_pretrained(tmp_path / "through").state_dict()
    other = CondenserForPreTraining.from_pretrained(tmp_path / "killed").state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "length",
    [
        ["--max-steps", "3"],
        ["--max-steps", "-1", "--num-train-epochs", "0.3"],
        ["--max-steps", "3", "--save-strategy", "no"],
    ],
)
def test_a_finished_run_is_left_as_it_is(spans, tmp_path, caplog, length):
    """Its last step lies within an epoch, where Trainer would take another one."""
    caplog.set_level("INFO")
    output = tmp_path / "out"
    command = ["pretrain", *SMALL, "--spans", str(spans), "--output-dir", str(output), *SHORT, *length]
    assert main(command) == 0
    kept = [output / name for name in ("model.safetensors", "pretraining.json", "trainer_state.json")]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in kept]
    assert main(command) == 0
    assert f"The run in '{output}' is finished: " in caplog.text
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in kept] == before


def test_a_run_killed_before_its_record_gets_it(spans, tmp_path):
    """The trainer that it gives back has the last weights and steps, too."""
    start, output = tmp_path / "encoder.json", tmp_path / "out"
    BertConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=1, intermediate_size=64).to_json_file(start)
    args = CondenserTrainingArguments(
        output_dir=str(output),
        max_steps=3,
        save_steps=2,
        per_device_train_batch_size=8,
        use_cpu=True,
        report_to="none",
    )
    options = ModelOptions(max_length=32)
    trained = pretrain(start, spans, args, options)
    weights = (output / "model.safetensors").read_bytes()
    tokens = json.loads((output / "pretraining.json").read_text())["tokens"]
    for name in ("model.safetensors", "pretraining.json", "trainer_state.json"):
        (output / name).unlink()
    again = pretrain(start, spans, args, options)
    record = json.loads((output / "pretraining.json").read_text())
    assert (output / "model.safetensors").read_bytes() == weights
    assert (record["steps"], record["tokens"]) == (again.state.global_step, again.tokens_seen) == (3, tokens)
    one, other = trained.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    more = dataclasses.replace(args, max_steps=5)
    with pytest.raises(InputError, match=r"max_steps \(3, now 5\); go on with the same, add resume"):
        pretrain(start, spans, more, options)
    assert pretrain(start, spans, more, options, resume=True).state.global_step == 5


def test_a_run_is_not_gone_on_with_as_another(condenser, spans, capsys):
    command = ["pretrain", *SMALL, "--spans", str(spans), "--output-dir", str(condenser), *SHORT, "--resume"]
    for options, words in (
        (["--stage", "condenser", "--seed", "7"], "has another seed (42, now 7)"),
        (["--stage", "cocondenser", "--temperature", "8"], "has another stage (condenser, now cocondenser)"),
    ):
        assert main([*command, *options]) == 2
        assert words in capsys.readouterr().err


def test_a_condenser_keeps_its_head(condenser, spans, tmp_path, capsys):
    """Other wishes are refused, not passed over; what it has is recorded."""
    output = tmp_path / "out"
    command = ["pretrain", str(condenser), "--spans", str(spans), "--output-dir", str(output), "--max-length", "32"]
    command += [*SHORT, "--max-steps", "1"]
    for flags, words in (
        (["--n-head-layers", "0"], "n_head_layers is 0, but that of the Condenser"),
        (["--skip-from", "2"], "is 1; leave it out, or put a new head on with fresh_head"),
        (["--no-late-mlm"], "late_mlm is False"),
    ):
        assert words in said(capsys, *command, *flags)
    assert main([*command, "--n-head-layers", "2"]) == 0
    options = json.loads((output / "pretraining.json").read_text())["options"]
    assert (options["n_head_layers"], options["skip_from"], options["late_mlm"]) == (2, 1, True)


@pytest.mark.parametrize("place", ["", "condenser"])
def test_a_cocondenser_of_the_hub_goes_on_as_it_was_trained(condenser, spans, tmp_path, monkeypatch, place):
    """A retriever is at the root of what this package publishes, with the Condenser in a folder of its own."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    repository = tmp_path / "cache" / "models--somebody--cosine"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    snapshot = repository / "snapshots" / ("0" * 40)
    shutil.copytree(condenser, snapshot / place, ignore=shutil.ignore_patterns("checkpoint-*"))
    if place:
        CondenserConfig.from_pretrained(condenser).backbone_config.save_pretrained(snapshot)
        load_tokenizer(condenser).save_pretrained(snapshot)
    record = json.loads((condenser / "pretraining.json").read_text()) | {"stage": "cocondenser"}
    record["optimisation"] |= {"temperature": 0.05, "normalize": True}
    (snapshot / place / "pretraining.json").write_text(json.dumps(record))
    output = tmp_path / "out"
    command = ["pretrain", "somebody/cosine", "--spans", str(spans), "--output-dir", str(output), *SHORT]
    assert main([*command, "--max-length", "32", "--max-steps", "1"]) == 0
    again = json.loads((output / "pretraining.json").read_text())
    assert (again["optimisation"]["temperature"], again["optimisation"]["normalize"]) == (0.05, True)
    assert again["earlier_stage"] == record


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, (0.05, True)),
        ({"normalize": True}, (0.05, True)),
        ({"temperature": 0.1}, (0.1, True)),
        ({"normalize": False}, (1.0, False)),  # a temperature of cosines is none of dot products
    ],
)
def test_what_is_given_goes_before_how_the_cocondenser_was_trained(tmp_path, given, wanted):
    args = CondenserTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **given)
    scale_like({"stage": "cocondenser", "optimisation": {"temperature": 0.05, "normalize": True}}, args)
    assert (args.temperature, args.normalize) == wanted
    fresh = CondenserTrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    scale_like(None, fresh)
    assert (fresh.temperature, fresh.normalize) == (1.0, False)


@pytest.mark.distributed
@pytest.mark.slow
def test_torchrun_trains_and_ends_cleanly(spans, tmp_path):
    output = tmp_path / "two"
    command = ["pretrain", *SMALL, "--spans", str(spans), "--output-dir", str(output), *SHORT]
    torchrun(2, ["-m", "hf_cocondenser", *command])
    record = json.loads((output / "pretraining.json").read_text())
    assert record["optimisation"]["world_size"] == 2
    assert next(entry for entry in record["log"] if "loss" in entry)["negatives_per_span"] == 30


def said(capsys, *command: str) -> str:
    """The one sentence of a command that must fail with status 2."""
    assert main(list(command)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    return lines[0]


def test_bad_input_is_one_sentence(spans, condenser, tmp_path, capsys):
    out = ["--output-dir", str(tmp_path / "out"), "--use-cpu"]
    with_spans = ["--spans", str(spans), *out]
    assert "required: --spans" in said(capsys, "pretrain", "bert:2x64", *out)
    assert "is not a span folder" in said(capsys, "pretrain", "bert:2x64", "--spans", str(tmp_path), *out)
    assert "cannot be loaded" in said(capsys, "pretrain", str(tmp_path / "nowhere"), *with_spans)
    assert "from 1 to 1" in said(capsys, "pretrain", "bert:2x64", "--skip-from", "2", *with_spans)
    assert "--stage: invalid choice: 'x'" in said(capsys, "pretrain", "bert:2x64", "--stage", "x", *with_spans)
    assert "takes at most 512" in said(capsys, "pretrain", "bert:2x64", "--max-length", "513", *with_spans)
    many = ["--per-device-train-batch-size", "5000"]
    assert "fewer than one global batch of 5000" in said(capsys, "pretrain", "bert:2x64", *many, *with_spans)
    one = ["--per-device-train-batch-size", "1"]
    assert "no negatives" in said(capsys, "pretrain", "bert:2x64", *one, *with_spans)
    assert "for ever" in said(capsys, "pretrain", "bert:2x64", "--dataloader-persistent-workers", *with_spans)
    for seed in ("-1", "5000000000"):
        words = f"seed is {seed}; it must be at least 0 and below 4,294,967,296"
        assert words in said(capsys, "pretrain", "bert:2x64", "--seed", seed, *with_spans)
    assert not (tmp_path / "out").exists()
    existing = ["--spans", str(spans), "--output-dir", str(condenser), "--use-cpu"]
    assert "has another stage" in said(capsys, "pretrain", "bert:2x64", *existing)


def test_a_corrupt_checkpoint_is_one_sentence(condenser, spans, tmp_path, capsys):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_bytes((condenser / "config.json").read_bytes())
    (broken / "model.safetensors").write_bytes((condenser / "model.safetensors").read_bytes()[:1000])
    said_ = said(
        capsys, "pretrain", str(broken), "--spans", str(spans), "--output-dir", str(tmp_path / "out"), "--use-cpu"
    )
    assert "cannot be loaded" in said_


def test_a_model_with_a_smaller_vocabulary_is_refused(spans, tmp_path, capsys):
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=50, hidden_size=64, num_hidden_layers=2, num_attention_heads=1, intermediate_size=64
    )
    BertForMaskedLM(config).save_pretrained(tmp_path / "bert")
    command = [
        "pretrain",
        str(tmp_path / "bert"),
        "--spans",
        str(spans),
        "--output-dir",
        str(tmp_path / "out"),
        "--use-cpu",
    ]
    assert "prepare the spans with the model's own tokenizer" in said(capsys, *command)


def test_spans_of_another_vocabulary_are_refused(condenser, spans, tmp_path, capsys):
    """As many entries, other tokens: nothing but the vocabularies themselves would tell."""
    other = train_wordpiece((f"{i} zebra quagga okapi" for i in range(2000)), 500)
    documents = Dataset.from_list(
        [{"_id": str(i), "title": "", "passages": ["zebra 1 . okapi 2 . quagga 3 ."] * 9} for i in range(20)],
        features=FEATURES,
    )
    prepare_spans(documents, other, tmp_path / "spans", SpanOptions(target_tokens=8, min_tokens=2))
    command = ["pretrain", str(condenser), "--spans", str(tmp_path / "spans"), "--output-dir", str(tmp_path / "out")]
    assert "another vocabulary" in said(capsys, *command, "--max-length", "32")


def test_a_json_configuration_starts_from_random_weights(spans, tmp_path):
    from transformers import DistilBertConfig

    DistilBertConfig(dim=32, n_layers=2, n_heads=2, hidden_dim=32).to_json_file(tmp_path / "encoder.json")
    output = tmp_path / "out"
    command = [
        "pretrain",
        str(tmp_path / "encoder.json"),
        "--spans",
        str(spans),
        "--output-dir",
        str(output),
        "--max-length",
        "32",
        *SHORT,
    ]
    assert main(command) == 0
    config = CondenserForPreTraining.from_pretrained(output).config.backbone_config
    assert config.model_type == "distilbert" and config.vocab_size == 500
