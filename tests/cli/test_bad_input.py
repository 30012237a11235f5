"""What users get wrong: one sentence, exit status 2, nothing half-written, nothing of theirs lost."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder
from transformers import BertConfig, BertForSequenceClassification

from hf_cocondenser.cli.main import main
from hf_cocondenser.data.tokenizer import load_tokenizer

SENTENCE = "The {} whale of number {} swims in the cold sea and eats a lot of krill every single day."
TINY = ("--per-device-train-batch-size", "4", "--max-steps", "1", "--report-to", "none", "--stage", "condenser")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Documents, spans, a pre-training checkpoint and a small BEIR folder, made by the commands."""
    folder = tmp_path_factory.mktemp("made")
    rows = [
        {"_id": f"d{n}", "text": " ".join(SENTENCE.format(word, n) for word in ("blue", "grey", "white", "old"))}
        for n in range(12)
    ]
    documents = folder / "documents.jsonl"
    documents.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    data = folder / "data"
    (data / "qrels").mkdir(parents=True)
    shutil.copy(documents, data / "corpus.jsonl")
    queries = [{"_id": f"q{n}", "text": f"whale number {n}"} for n in range(12)]
    (data / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)), encoding="utf-8")
    for split in ("train", "test"):
        lines = [f"q{n}\td{n}\t1" for n in range(12)]
        (data / "qrels" / f"{split}.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")
    spans, checkpoint = str(folder / "spans"), str(folder / "checkpoint")
    assert (
        main(["prepare", str(documents), "--train-tokenizer", "150", "--target-tokens", "30", "--output-dir", spans])
        == 0
    )
    start = ["pretrain", "bert:2x64", "--spans", spans, "--output-dir", checkpoint]
    assert main([*start, *TINY, "--save-strategy", "no"]) == 0
    assert main(["export", checkpoint, "--output-dir", str(folder / "retriever")]) == 0
    return folder


def refused(capfd: pytest.CaptureFixture[str], *argv: object) -> str:
    """Run a command that must be refused; returns its sentence."""
    capfd.readouterr()
    status = main([str(value) for value in argv])
    error = capfd.readouterr().err
    assert status == 2, error
    assert "Traceback" not in error
    sentences = [line for line in error.splitlines() if f"hf-cocondenser {argv[0]}: error:" in line]
    assert len(sentences) == 1, error
    return sentences[0]


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "is empty"),
        (b'{"text": "a"}\n{"text": ["b"]}\n{"text": {"c": 7}}\n', "line 3 holds .* instead of text"),
        ('{"text": "caf\xe9"}\n'.encode("latin-1"), "cannot be read as UTF-8"),
        (b'{"text": "a"}\n{"text": \n', "line 2 is not valid JSON"),
        (b'{"name": "a"}\n', "name the one with the text"),
    ],
    ids=["empty", "mixed", "latin-1", "broken", "column"],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_documents_that_cannot_be_read(made, tmp_path, capfd, content, said, streaming):
    source = tmp_path / "source.jsonl"
    source.write_bytes(content)
    flags = ["--streaming"] if streaming else []
    command = ("prepare", source, "--tokenizer", made / "spans", "--output-dir", tmp_path / "out")
    assert re.search(said, refused(capfd, *command, *flags))
    assert [path.name for path in tmp_path.iterdir()] == ["source.jsonl"]


@pytest.mark.parametrize(
    "flags, said",
    [
        (("--learning-rate", "-1e-3"), "--learning-rate is -0.001"),
        (("--learning-rate", "0"), "--learning-rate is 0.0"),
        (("--dropout", "2"), "dropout is 2.0"),
        (("--max-length", "2"), "--max-length is 2"),
        (("--mlm-probability", "2"), "--mlm-probability is 2.0"),
        (("--temperature", "0"), "temperature is 0.0"),
        (("--per-device-train-batch-size", "0"), "--per-device-train-batch-size is 0"),
        (("--gradient-accumulation-steps", "0"), "--gradient-accumulation-steps is 0"),
        (("--dataloader-num-workers", "-1"), "--dataloader-num-workers is -1"),
        (("--seed", "-1"), "seed is -1"),
        (("--max-steps", "0", "--num-train-epochs", "0"), "--num-train-epochs is 0.0"),
        (("--remove-unused-columns",), "remove_unused_columns"),
        (("--label-smoothing-factor", "0.1"), "--label-smoothing-factor"),
        (("--train-sampling-strategy", "group_by_length"), "--train-sampling-strategy"),
        (("--deepspeed", "nothing.json"), "deepspeed"),
        (("--report-to", "clearml"), "pip install clearml"),
        (("--report-to", "nobody"), "transformers reports to"),
    ],
)
def test_pretraining_options_out_of_range(made, tmp_path, capfd, flags, said):
    out = tmp_path / "out"
    assert said in refused(capfd, "pretrain", made / "checkpoint", "--spans", made / "spans", *TINY, *flags,
                           "--output-dir", out)  # fmt: skip
    assert not out.exists()


@pytest.mark.parametrize(
    "name, said",
    [
        ("bert:2", "bert:LAYERSxHIDDEN"),
        ("bert:0x64", "there must be a layer"),
        ("list.json", "cannot be used"),
        ("unknown.json", "cannot be used"),
        ("truncated", "cannot be loaded"),
        ("headless", "`pretrain --fresh-head`"),
        ("wrong-shape", "its weights do not have the sizes that its config.json names"),
        ("classifier", "is a BertForSequenceClassification: a cross-encoder"),
        ("pickled", "holds other things than tensors"),
    ],
)
def test_starting_points_that_cannot_be_used(made, tmp_path, capfd, name, said):
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "unknown.json").write_text('{"model_type": "nothing"}')
    start = name if name.startswith("bert:") else tmp_path / name
    if "." not in name and ":" not in name:
        shutil.copytree(made / "checkpoint", start)
        weights = start / "model.safetensors"
        tensors = load_file(weights)
        if name == "truncated":
            weights.write_bytes(weights.read_bytes()[:9000])
        elif name == "wrong-shape":
            tensors["condenser.backbone.embeddings.LayerNorm.weight"] = torch.ones(32)
            save_file(tensors, weights, {"format": "pt"})
        elif name == "classifier":
            shutil.rmtree(start)
            shape = {"num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 64}
            config = BertConfig(vocab_size=150, hidden_size=64, num_labels=1, **shape)
            BertForSequenceClassification(config).save_pretrained(start)
            load_tokenizer(made / "spans").save_pretrained(start)
            assert said in refused(capfd, "finetune", start, "--data", made / "data", "--output-dir", tmp_path / "t")
            CrossEncoder(str(start)).save_pretrained(str(tmp_path / "judge"))  # with a modules.json, like a retriever
            assert said in refused(
                capfd, "evaluate", tmp_path / "judge", "--data", made / "data", "--output-dir", tmp_path / "e"
            )
        elif name == "headless":
            save_file({k: v for k, v in tensors.items() if not k.startswith("head.")}, weights, {"format": "pt"})
        else:
            weights.unlink()
            (start / "pytorch_model.bin").write_bytes(pickle.dumps({"weights": Path("code that would run")}))
            refused(capfd, "finetune", start, "--data", made / "data", "--output-dir", tmp_path / "tuned")
            refused(capfd, "export", start, "--output-dir", tmp_path / "exported")
    out = tmp_path / "out"
    assert said in refused(capfd, "pretrain", start, "--spans", made / "spans", *TINY, "--output-dir", out)
    assert not out.exists()


@pytest.mark.parametrize("content", ["{}", '{"model": {}}', "[]", '{"version": "1.0", "added_tok'])
def test_a_damaged_tokenizer(made, tmp_path, capfd, content):
    shutil.copytree(made / "spans" / "tokenizer", tmp_path / "tokenizer")
    (tmp_path / "tokenizer" / "tokenizer.json").write_text(content)
    command = ("prepare", made / "documents.jsonl", "--tokenizer", tmp_path / "tokenizer")
    assert refused(capfd, *command, "--output-dir", tmp_path / "out").endswith("its tokenizer.json is damaged")


@pytest.mark.parametrize(
    "flags, said",
    [
        (("--passage-length", "1"), "passage-length is 1"),
        (("--query-length", "2"), "query-length is 2"),
        (("--seed", "-1"), "seed is -1"),
        (("--learning-rate", "-2e-5"), "learning-rate is -2e-05"),
    ],
)
def test_finetuning_options_out_of_range(made, tmp_path, capfd, flags, said):
    out = tmp_path / "out"
    assert said in refused(
        capfd, "finetune", made / "checkpoint", "--data", made / "data", "--output-dir", out, *flags
    )
    assert not out.exists()


def test_overwriting_never_takes_what_is_read(made, tmp_path, capfd, monkeypatch):
    home = tmp_path / "home"
    shutil.copytree(made, home)
    before = sorted(home.rglob("*"))
    monkeypatch.chdir(home)
    for argv in (
        ("prepare", "data", "--tokenizer", "spans", "--output-dir", "data"),
        ("prepare", "documents.jsonl", "--tokenizer", "spans", "--output-dir", "spans"),
        ("prepare", "data", "--tokenizer", "spans", "--output-dir", "."),
        ("prepare", made / "data", "--tokenizer", made / "spans", "--output-dir", home),
        ("export", "checkpoint", "--output-dir", "checkpoint"),
        ("convert", "checkpoint", "--output-dir", "checkpoint"),
        ("evaluate", "retriever", "--data", "data", "--output-dir", "data"),
        ("evaluate", "retriever", "--data", "data", "--output-dir", "retriever"),
        ("evaluate", "retriever", "--data", "data", "--output-dir", "."),
        ("compare", "a.trec", "b.trec", "--data", "data", "--output-dir", "data"),
    ):
        assert "would replace" in refused(capfd, *argv, "--overwrite")
    assert sorted(home.rglob("*")) == before


def test_a_file_where_a_folder_should_be(made, tmp_path, capfd):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        for argv in (
            ("prepare", made / "documents.jsonl", "--tokenizer", made / "spans"),
            ("pretrain", made / "checkpoint", "--spans", made / "spans", *TINY),
            ("export", made / "checkpoint"),
            ("finetune", made / "checkpoint", "--data", made / "data"),
            ("evaluate", made / "retriever", "--data", made / "data"),
        ):
            assert "is a file; name a" in refused(capfd, *argv, "--output-dir", out)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_of_other_settings_is_gone_on_with_on_purpose_only(made, tmp_path, capfd):
    shutil.copytree(made / "checkpoint", tmp_path / "run")
    command = ("pretrain", "bert:2x64", "--spans", made / "spans", *TINY, "--output-dir", tmp_path / "run")
    command += ("--learning-rate", "1e-3")
    said = refused(capfd, *command)
    assert "learning_rate (0.0001, now 0.001)" in said and "add --resume" in said


@pytest.mark.parametrize("kind", ["files", "training"])
def test_resume_keeps_out_of_folders_of_others(made, tmp_path, capfd, kind):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    if kind == "training":
        (out / "checkpoint-7").mkdir()
        (out / "checkpoint-7" / "trainer_state.json").write_text("{}")
        (out / "checkpoint-7" / "config.json").write_text('{"model_type": "bert"}')
    before = sorted(out.rglob("*"))
    command = ("pretrain", "bert:2x64", "--spans", made / "spans", *TINY, "--output-dir", out)
    for flags in ((), ("--resume",)):
        assert "is not a pre-training run. Choose another --output-dir." in refused(capfd, *command, *flags)
    assert sorted(out.rglob("*")) == before


def test_a_fresh_head_on_purpose(made, tmp_path):
    """The way out that the message about a missing head names."""
    headless, out = tmp_path / "headless", tmp_path / "out"
    shutil.copytree(made / "checkpoint", headless)
    tensors = load_file(headless / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if not k.startswith("head.")}, headless / "model.safetensors",
              {"format": "pt"})  # fmt: skip
    start = ["pretrain", str(headless), "--fresh-head", "--n-head-layers", "1", "--spans", str(made / "spans")]
    assert main([*start, *TINY, "--save-strategy", "no", "--output-dir", str(out)]) == 0
    assert json.loads((out / "config.json").read_text())["n_head_layers"] == 1


@pytest.mark.parametrize(
    "flags, said",
    [
        (("--cross-encoder", "judge"), "nothing uses cross_encoder (judge)"),
        (("--margin", "0.1", "--sampling", "top"), "nothing uses margin (0.1) and sampling (top)"),
        (("--round2-start", "round1"), "nothing uses round2_start (round1)"),
    ],
)
def test_options_of_a_second_round_that_is_not_there(made, tmp_path, capfd, flags, said):
    command = (made / "checkpoint", "--output-dir", tmp_path / "out", "--rounds", "1", *flags)
    assert said in refused(capfd, "finetune", *command, "--data", made / "data")
    assert said in refused(capfd, "adapt", *command, "--documents", made / "documents.jsonl")
    assert not (tmp_path / "out").exists()


def test_processes_are_counted_from_one(made, tmp_path, capfd):
    command = ("prepare", made / "documents.jsonl", "--tokenizer", made / "spans", "--output-dir", tmp_path / "out")
    assert "num_proc is 0" in refused(capfd, *command, "--num-proc", "0")


@pytest.mark.parametrize("cut", ["weights", "state"])
def test_resuming_passes_over_a_checkpoint_that_was_cut_short(made, tmp_path, cut):
    out = tmp_path / "out"
    command = ["pretrain", "bert:2x64", "--spans", str(made / "spans"), *TINY, "--output-dir", str(out)]
    command += ["--max-steps", "3", "--save-steps", "1"]
    assert main(command) == 0
    whole = (out / "model.safetensors").read_bytes()
    (out / "checkpoint-3" / "trainer_state.json").unlink()  # written last
    if cut == "weights":
        (out / "checkpoint-3" / "model.safetensors").write_bytes(whole[:500])
    (out / "model.safetensors").unlink()
    assert main(command) == 0
    assert (out / "model.safetensors").read_bytes() == whole


def test_a_full_disk(made, capfd):
    """The kernel refuses what is longer than the limit, as it does on a full disk."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    out = made / "limited"
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        sentence = refused(capfd, "export", made / "checkpoint", "--output-dir", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot be written" in sentence
    assert not out.exists()
