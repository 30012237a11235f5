"""cocondenser-tiny: in the package, small, whole, and found by its name wherever a model is asked for, without network."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

import hf_cocondenser
from hf_cocondenser import CondenserForPreTraining, SpanOptions, checkpoint_path, load_documents, prepare_spans
from hf_cocondenser.cli.main import main
from hf_cocondenser.data.tokenizer import load_tokenizer
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.retriever_start import load_starting_point
from hf_cocondenser.retrieval.retriever import load_retriever

NAME = "cocondenser-tiny"
PACKAGE = Path(hf_cocondenser.__file__).parent
TEXTS = ["a dog barks at the postman", "dogs and cats are pets", "the derivative of a polynomial"]


def test_it_is_small_whole_and_holds_no_code() -> None:
    folder = Path(checkpoint_path(NAME))
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 16 * 2**20
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.float16}
    assert not list(folder.glob("*.py"))
    model = CondenserForPreTraining.from_pretrained(NAME)  # raises where weights are missing
    assert model.dtype == torch.float32
    assert model.config.n_head_layers == 2
    record = json.loads((folder / "pretraining.json").read_text())
    assert record["stage"] == "cocondenser"
    assert "/" not in record["spans"]["folder"]


def test_every_data_file_is_in_the_wheel() -> None:
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    packed = {
        file
        for pattern in settings["tool"]["setuptools"]["package-data"]["hf_cocondenser"]
        for file in PACKAGE.glob(pattern)
    }
    files = {file for file in PACKAGE.rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc")}
    assert files <= packed


def test_its_vectors_are_the_same_by_every_road(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path(NAME))
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = AutoModel.from_pretrained(checkpoint_path(NAME)).eval()(**inputs).last_hidden_state[:, 0].numpy()
    assert main(["export", NAME, "--output-dir", "exported"]) == 0
    start = load_starting_point(NAME, RetrieverTrainingArguments(bf16=False))
    for model in (load_retriever(NAME), load_retriever("exported"), start.eval()):
        np.testing.assert_allclose(model.encode(TEXTS), expected, atol=1e-4)
    # Before any fine-tuning it already tells texts apart.
    similar = expected @ expected.T
    assert similar[0, 1] > similar[0, 2]


def test_training_goes_on_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        {"_id": str(i), "title": f"text {i}", "text": f"{TEXTS[i % 3]}. {TEXTS[(i + 1) % 3]}. {i} times."}
        for i in range(12)
    ]
    Path("documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepare_spans(load_documents("documents.jsonl"), load_tokenizer(NAME), "spans", SpanOptions(target_tokens=8))
    flags = ["--max-steps", "1", "--per-device-train-batch-size", "4", "--use-cpu", "--report-to", "none"]
    assert main(["pretrain", NAME, "--spans", "spans", "--output-dir", "more", *flags]) == 0
    record = json.loads(Path("more/pretraining.json").read_text())
    assert record["start"] == NAME
    assert record["optimisation"]["temperature"] == 16.0  # not asked for: the start's own
    assert record["earlier_stage"]["stage"] == "cocondenser"


def test_an_own_folder_of_that_name_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(NAME).mkdir()
    assert checkpoint_path(NAME) == NAME
    assert checkpoint_path("../cocondenser-tiny") == "../cocondenser-tiny"
    assert checkpoint_path("bert-base-uncased") == "bert-base-uncased"


@pytest.mark.slow
def test_searching_by_its_name_needs_no_network(tmp_path: Path) -> None:
    documents = tmp_path / "documents.jsonl"
    documents.write_text("".join(json.dumps({"_id": str(i), "text": text}) + "\n" for i, text in enumerate(TEXTS)))
    command = [
        "search",
        NAME,
        "--corpus",
        str(documents),
        "--query",
        "calculus: derivative of a function",
        "--k",
        "1",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "hf_cocondenser", *command], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "polynomial" in done.stdout


def test_the_corpus_of_the_recipe_loses_no_passage() -> None:
    script = runpy.run_path(str(PACKAGE.parent / "examples" / "cocondenser-tiny" / "corpus.py"))
    passages = ["a" * 30, "b" * 30, "c" * 100, "d", "e"]
    cut = list(script["pieces"]({"_id": "x", "title": "t", "passages": passages}, 70))
    assert [piece["passages"] for piece in cut] == [passages[:2], passages[2:3], passages[3:]]
    assert [piece["_id"] for piece in cut] == ["x#0", "x#1", "x#2"]


def test_what_is_shipped_is_the_trained_model_in_half_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script = str(PACKAGE.parent / "examples" / "cocondenser-tiny" / "ship.py")
    monkeypatch.setattr(sys, "argv", [script, str(checkpoint_path(NAME)), "again"])
    runpy.run_path(script, run_name="__main__")
    again = CondenserForPreTraining.from_pretrained("again").state_dict()
    expected = CondenserForPreTraining.from_pretrained(NAME).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in expected.items())
    assert sorted(file.name for file in Path("again").iterdir()) == sorted(
        f.name for f in Path(checkpoint_path(NAME)).iterdir()
    )


def test_the_mean_of_two_checkpoints_is_of_their_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = CondenserForPreTraining.from_pretrained(NAME)
    other = CondenserForPreTraining.from_pretrained(NAME)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter))
    shutil.copytree(checkpoint_path(NAME), "other")
    other.save_pretrained("other")
    script = str(PACKAGE.parent / "examples" / "cocondenser-tiny" / "ship.py")
    options = [str(checkpoint_path(NAME)), "mean", "--average-with", "other", "other", "--dtype", "float32"]
    monkeypatch.setattr(sys, "argv", [script, *options])
    runpy.run_path(script, run_name="__main__")
    mean = dict(CondenserForPreTraining.from_pretrained("mean").named_parameters())
    theirs = dict(other.named_parameters())
    for name, parameter in expected.named_parameters():
        torch.testing.assert_close(mean[name], (parameter + 2 * theirs[name]) / 3)
    assert json.loads(Path("mean/pretraining.json").read_text())["averaged_with"] == ["other", "other"]


def test_the_mean_of_two_shapes_is_refused() -> None:
    average = runpy.run_path(str(PACKAGE.parent / "examples" / "cocondenser-tiny" / "ship.py"))["average"]
    model = CondenserForPreTraining.from_pretrained(NAME)
    with pytest.raises(InputError, match="different shapes"):
        average(model, [model.get_backbone()])
