"""The whole of fine-tuning on a tiny collection: what comes out, what is done again, what a kill leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from hf_cocondenser.cli.main import main
from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.measures import evaluate_run
from hf_cocondenser.finetuning import lora
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.dev import DevEvaluator
from hf_cocondenser.finetuning.finetune import finetune
from hf_cocondenser.finetuning.inputs import dev_split
from hf_cocondenser.finetuning.retriever_start import load_starting_point
from hf_cocondenser.finetuning.training import round_arguments, train_round
from hf_cocondenser.finetuning.training_set import TrainingSet
from hf_cocondenser.modeling_condenser import CondenserForPreTraining
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
from hf_cocondenser.retrieval.dense import dense_search
from tests.launch import torchrun

pytestmark = pytest.mark.slow

CONFIG = {
    "max_steps": 24,
    "per_device_train_batch_size": 16,
    "learning_rate": 2e-3,
    "eval_steps": 0.25,
    "bf16": False,
    "query_length": 16,
    "passage_length": 32,
}
MINING = {"keep_best_of": "checkpoints", "bm25_depth": 30, "bm25_negatives": 6, "mine_depth": 20, "mine_negatives": 5}


@pytest.fixture(scope="module")
def collection(beir_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection with test judgements that cannot be read: fine-tuning must never look at them."""
    folder = tmp_path_factory.mktemp("without_test") / "toy"
    shutil.copytree(beir_folder, folder)
    (folder / "qrels" / "test.tsv").write_text("not a judgement\n")
    return folder


@pytest.fixture(scope="module")
def finished(backbone_folder: Path, collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rounds, done."""
    folder = tmp_path_factory.mktemp("finished") / "retriever"
    finetune(backbone_folder, collection, folder, **CONFIG, **MINING)
    return folder


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_learns_and_says_so(finished: Path):
    for name in ("round1", "round2"):
        log = [line for line in lines(finished / "steps" / name / "log.jsonl") if "accuracy" in line]
        assert np.mean([line["loss"] for line in log[-4:]]) < np.mean([line["loss"] for line in log[:4]])
        assert all(line["negatives"] <= 31 for line in log) and any(line["masked"] > 0 for line in log)
    summary = json.loads((finished / "finetuning.json").read_text())
    assert summary["steps"].keys() == {"bm25", "round1", "mined", "round2"}
    assert summary["steps"]["mined"]["depth"] == 20
    assert summary["dev"]["queries"] == 16
    card = (finished / "README.md").read_text()
    assert f"{summary['steps']['round2']['dev']['nDCG@10']:.4f}" in card and "64 training queries" in card


def test_a_training_that_does_harm_says_so(finished: Path, collection: Path, tmp_path: Path, caplog):
    settings = CONFIG | {"rounds": 1, "max_steps": 4, "eval_steps": 4, "keep_best_of": "checkpoints"}
    finetune(finished, collection, tmp_path / "gentle", **settings | {"learning_rate": 1e-9})
    assert "worse than what it started from" not in caplog.text
    finetune(finished, collection, tmp_path / "rough", **settings | {"learning_rate": 1.0})
    assert "worse than what it started from" in caplog.text and "lower --learning-rate than 1" in caplog.text


def test_the_best_checkpoint_is_kept_and_its_figures_can_be_measured_again(finished: Path, collection: Path):
    manifest = json.loads((finished / "steps" / "round2" / "manifest.json").read_text())["result"]
    log = lines(finished / "steps" / "round2" / "log.jsonl")
    measured = {line["step"]: line["eval_dev_nDCG@10"] for line in log if "eval_dev_nDCG@10" in line}
    assert len(measured) == 5 and manifest["dev_before"]["nDCG@10"] == measured.pop(0)
    assert manifest["dev"]["nDCG@10"] == max(measured.values())
    assert measured[manifest["chosen_step"]] == max(measured.values())
    dev = load_retrieval_data(collection, "dev")
    means, _ = evaluate_run(dev.qrels, dense_search(SentenceTransformer(str(finished)), dev.queries, dev.corpus))
    for name, value in means.items():
        assert value == pytest.approx(manifest["dev"][name], abs=1e-9)


def test_round_2_starts_from_the_pretrained_checkpoint_on_both_pools(finished: Path):
    steps = finished / "steps"
    one, two = (json.loads((steps / name / "manifest.json").read_text())["inputs"] for name in ("round1", "round2"))
    assert one["start"] == two["start"]
    assert one["pools"].keys() == {"bm25"} and two["pools"].keys() == {"bm25", "mined"}
    mined = json.loads((steps / "mined" / "manifest.json").read_text())
    assert (
        mined["inputs"]["model"]
        == json.loads((steps / "round1" / "manifest.json").read_text())["result"]["model_hash"]
    )
    assert {"corpus", "qrels", "queries", "mine_depth", "mine_negatives", "seed"} <= mined["inputs"].keys()
    assert mined["result"]["audit"]["looked_at"] > 0


def test_the_card_has_no_figures_of_an_earlier_model_and_keeps_what_others_wrote(
    backbone_folder: Path, collection: Path, tmp_path: Path, caplog
):
    folder, settings = tmp_path / "retriever", CONFIG | {"rounds": 1, "max_steps": 1}
    finetune(backbone_folder, collection, folder, **settings | {"eval_steps": 1})
    assert (folder / "results.json").is_file() and "model-index" in (folder / "README.md").read_text()
    finetune(backbone_folder, collection, folder, **settings | {"eval_strategy": "no"}, overwrite=True)
    card = (folder / "README.md").read_text()
    assert not (folder / "results.json").exists() and "model-index" not in card
    (folder / "README.md").write_text(card + "My own words.\n")
    finetune(backbone_folder, collection, folder, **settings | {"eval_strategy": "no"})
    assert (folder / "README.md").read_text() == card + "My own words.\n" and "was edited" in caplog.text


def test_the_result_loads_without_this_package(finished: Path, tmp_path: Path):
    texts = ["w1 w2 w3", "w50"]
    script = f"""
import sys, json
sys.modules["hf_cocondenser"] = None
from sentence_transformers import SentenceTransformer
from transformers import AutoModel
model = SentenceTransformer({str(finished)!r}, device="cpu")
assert model.similarity_fn_name == "dot"
assert AutoModel.from_pretrained({str(finished)!r}).config.model_type == "bert"
json.dump(model.encode({texts!r}).tolist(), open({str(tmp_path / "vectors.json")!r}, "w"))
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=120)
    expected = SentenceTransformer(str(finished), device="cpu").encode(texts)
    np.testing.assert_allclose(json.loads((tmp_path / "vectors.json").read_text()), expected, atol=1e-6)


def test_nothing_is_done_twice(finished: Path, backbone_folder: Path, collection: Path):
    before = {path: path.stat().st_mtime_ns for path in (finished / "steps").rglob("*")}
    finetune(backbone_folder, collection, finished, **CONFIG, **MINING)
    assert {path: path.stat().st_mtime_ns for path in (finished / "steps").rglob("*")} == before
    with pytest.raises(InputError, match="mine_depth: 20 before, 10 now"):
        finetune(
            backbone_folder,
            collection,
            finished,
            **CONFIG,
            **{**MINING, "mine_depth": 10},
        )
    assert {path: path.stat().st_mtime_ns for path in (finished / "steps").rglob("*")} == before


@pytest.mark.parametrize("where", ["mining", "round2"])
def test_kill_9_and_the_same_files_after(
    where: str, finished: Path, backbone_folder: Path, collection: Path, tmp_path: Path
):
    script = Path(__file__).with_name("killed.py")
    target = tmp_path / "retriever"
    settings = json.dumps([str(backbone_folder), str(collection), str(target), CONFIG, MINING, where])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, str(script), settings], env=environment, capture_output=True, timeout=200)
    assert done.returncode == -9, done.stderr[-2000:]
    assert (target / "steps" / "round1" / "manifest.json").exists()
    assert (target / "steps" / "mined").exists() == (where == "round2")
    if where == "round2":
        assert list((target / "steps" / "round2.partial" / "training").glob("checkpoint-*"))
    assert not (target / "modules.json").exists()
    finetune(backbone_folder, collection, target, **CONFIG, **MINING)
    for name in ("model.safetensors", "config.json", "modules.json", "steps/mined/negatives.jsonl"):
        assert (target / name).read_bytes() == (finished / name).read_bytes(), name
    assert not list((target / "steps").glob("*.partial"))


def test_one_round_without_dev_split_by_the_command_line(backbone_folder: Path, collection: Path, tmp_path: Path):
    folder = tmp_path / "data"
    shutil.copytree(collection, folder)
    (folder / "qrels" / "dev.tsv").unlink()
    options = [
        "--rounds",
        "1",
        "--max-steps",
        "4",
        "--batch-size",
        "8",
        "--eval-steps",
        "0.5",
        "--no-bf16",
    ]
    target = tmp_path / "out"
    (tmp_path / "options.yaml").write_text("learning-rate: 1e-3\nnegatives_per_query: 2\n")
    command = ["finetune", str(backbone_folder), "--data", str(folder), "--output-dir", str(target), *options]
    assert main([*command, "--config", str(tmp_path / "options.yaml")]) == 0
    summary = json.loads((target / "finetuning.json").read_text())
    assert summary["dev"]["queries"] == 6 and summary["data"]["training_queries"] == 58  # a tenth of 64 held out
    assert summary["finetuning"]["learning_rate"] == 1e-3 and summary["finetuning"]["negatives_per_query"] == 2
    assert SentenceTransformer(str(target)).encode(["w1"]).shape == (1, 32)


def test_a_split_that_figures_are_of_chooses_nothing(collection: Path, tmp_path: Path):
    """MS MARCO's is called dev: who chose by it would have looked at the test."""
    shutil.copytree(collection, tmp_path / "msmarco")
    assert dev_split(tmp_path / "msmarco", load_retrieval_data(tmp_path / "msmarco", "train")) is None
    assert dev_split(collection, load_retrieval_data(collection, "train")) is not None


def test_what_measuring_costs_is_told(collection: Path, tmp_path: Path, caplog):
    caplog.set_level("INFO")
    evaluator = DevEvaluator(load_retrieval_data(collection, "dev"))
    for steps, told in ((2, True), (1000, False)):
        caplog.clear()
        args = RetrieverTrainingArguments(max_steps=steps, per_device_train_batch_size=2, eval_steps=0.5)
        round_arguments(args, tmp_path, 10, evaluator)
        assert ("will take most of the time" in caplog.text) == told
    assert "--dev-documents" not in caplog.text


@pytest.mark.parametrize(
    "options",
    [
        {"untied": True, "rounds": 1},
        {"gradient_cache": True, "directions": "sum", "dropout": 0.0, "chunk_tokens": 200, "rounds": 1},
        {"round2_start": "round1", "round2_negatives": "mined", "eval_strategy": "no"},
    ],
)
def test_options(backbone_folder: Path, collection: Path, tmp_path: Path, options: dict):
    config = {**CONFIG, "max_steps": 3, "eval_steps": 1, **options}
    summary = finetune(backbone_folder, collection, tmp_path / "out", **config, **MINING)
    model = SentenceTransformer(str(tmp_path / "out"))
    query, document = model.encode_query(["w1 w2"]), model.encode_document(["w1 w2"])
    assert np.allclose(query, document) != bool(options.get("untied"))
    if "round2_start" in options:
        inputs = json.loads((tmp_path / "out" / "steps" / "round2" / "manifest.json").read_text())["inputs"]
        assert inputs["start"] == summary["steps"]["round1"]["model_hash"] and list(inputs["pools"]) == ["mined"]


def test_gradient_cache_trains_the_same_model(backbone_folder: Path, collection: Path, tmp_path: Path):
    weights = []
    for cached in (True, False):
        config = {
            **CONFIG,
            "max_steps": 3,
            "rounds": 1,
            "eval_strategy": "no",
            "dropout": 0.0,
            "gradient_cache": cached,
        }
        folder = tmp_path / str(cached)
        finetune(backbone_folder, collection, folder, **config, **MINING)
        weights.append(load_file(folder / "model.safetensors"))
    for name, weight in weights[0].items():
        np.testing.assert_allclose(weight.numpy(), weights[1][name].numpy(), atol=2e-4, err_msg=name)


def test_lora_is_merged_and_gone(backbone_folder: Path, collection: Path, tmp_path: Path):
    pytest.importorskip("peft")
    config = {**CONFIG, "max_steps": 4, "eval_steps": 0.5, "rounds": 1, "lora_rank": 2}
    finetune(backbone_folder, collection, tmp_path / "out", **config, **MINING)
    before, after = (load_file(folder / "model.safetensors") for folder in (backbone_folder, tmp_path / "out"))
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed and all(
        name.endswith(("dense.weight", "query.weight", "key.weight", "value.weight")) for name in changed
    )
    difference = after["encoder.layer.0.output.dense.weight"] - before["encoder.layer.0.output.dense.weight"]
    assert torch.linalg.matrix_rank(difference, atol=1e-5) <= 2


def test_lora_refuses_a_peft_that_loses_adapters(backbone_folder, collection, tmp_path, monkeypatch):
    monkeypatch.setattr(lora, "version", lambda name: "0.19.1")
    config = {**CONFIG, "lora_rank": 2}
    with pytest.raises(InputError, match=r"LoRA needs peft 0.20 or newer, not 0.19.1"):
        finetune(backbone_folder, collection, tmp_path / "out", **config, **MINING)
    assert not (tmp_path / "out").exists()


def test_a_condenser_checkpoint_is_exported_first(backbone_folder: Path, collection: Path, tmp_path: Path):
    condenser = CondenserForPreTraining.from_backbone(str(backbone_folder))
    condenser.save_pretrained(tmp_path / "condenser")
    AutoTokenizer.from_pretrained(backbone_folder).save_pretrained(tmp_path / "condenser")
    config = {**CONFIG, "max_steps": 2, "rounds": 1, "eval_strategy": "no"}
    finetune(tmp_path / "condenser", collection, tmp_path / "out", **config, **MINING)
    finetune(backbone_folder, collection, tmp_path / "plain", **config, **MINING)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "plain"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_bfloat16_reaches_the_second_pass_of_the_gradient_cache(
    backbone_folder: Path, collection: Path, tmp_path: Path
):
    """The replay runs inside the backward pass, outside the trainer's autocast: the model must bring its own."""
    config = {**CONFIG, "max_steps": 2, "bf16": True, "gradient_cache": True}
    config = RetrieverTrainingArguments(**config)
    model = load_starting_point(backbone_folder, config)
    data = load_retrieval_data(collection, "train")
    seen = []

    def look(module, args, output):
        if module.training:
            seen.append((output.dtype, torch.is_grad_enabled()))

    model[0].auto_model.encoder.layer[0].attention.self.query.register_forward_hook(look)
    training_set = TrainingSet(data.queries, data.corpus, data.relevant())
    train_round(model, training_set, None, tmp_path / "round", config)
    assert {grad for _, grad in seen} == {True, False}
    assert {dtype for dtype, _ in seen} == {torch.bfloat16}


@pytest.mark.distributed
def test_two_processes_leave_a_folder_of_others_alone(backbone_folder: Path, collection: Path, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    command = ["finetune", str(backbone_folder), "--data", str(collection), "--output-dir", str(tmp_path)]
    with pytest.raises(AssertionError, match="already exists and is not empty") as refused:
        torchrun(2, ["-m", "hf_cocondenser", *command])
    assert "Connection closed" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.distributed
def test_two_processes_train_as_one(backbone_folder: Path, collection: Path, tmp_path: Path):
    """Two processes of 8 queries each are one of 16: cross-device negatives, shared order, averaged gradients."""
    options = [
        "--keep-best-of",
        "checkpoints",
        "--max-steps",
        "3",
        "--no-bf16",
        "--dropout",
        "0",
        "--eval-steps",
        "1",
        "--rounds",
        "1",
    ]
    options += ["--learning-rate", "1e-3", "--weight-decay", "0", "--bm25-depth", "30", "--bm25-negatives", "6"]
    weights, losses = [], []
    for processes, batch in ((1, 16), (2, 8)):
        target = tmp_path / str(processes)
        command = ["finetune", str(backbone_folder), "--data", str(collection), "--output-dir", str(target)]
        command += [*options, "--batch-size", str(batch)]
        if processes == 1:
            assert main(command) == 0
        else:
            torchrun(processes, ["-m", "hf_cocondenser.cli.main", *command])
        weights.append(load_file(target / "model.safetensors"))
        log = [line for line in lines(target / "steps" / "round1" / "log.jsonl") if "accuracy" in line]
        assert all(line["negatives"] > 28 for line in log)  # of all 32 passages
        losses.append([(line["loss"], line["accuracy"], line["masked"]) for line in log])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    for name, weight in weights[0].items():
        if "key.bias" in name:  # it has no gradient but noise, which Adam makes great
            continue
        np.testing.assert_allclose(weight.numpy(), weights[1][name].numpy(), atol=2e-5, err_msg=name)


def test_a_changed_configuration_with_overwrite_keeps_what_others_put_there(
    backbone_folder: Path, collection: Path, tmp_path: Path
):
    target = tmp_path / "out"
    for options in ({"untied": True}, {}):
        config = {**CONFIG, "max_steps": 2, "rounds": 1, "eval_strategy": "no", **options}
        finetune(backbone_folder, collection, target, **config, **MINING, overwrite=True)
        assert len(SentenceTransformer(str(target))) == (1 if options else 2)
        (target / "notes.txt").write_text("mine")
    assert (target / "notes.txt").read_text() == "mine"
    assert not (target / "router_config.json").exists()  # of the two encoders
    assert (target / "steps" / "bm25" / "manifest.json").is_file()


def test_bad_places(backbone_folder: Path, collection: Path, tmp_path: Path):
    with pytest.raises(InputError, match="measure 'nDCD@10'"):
        finetune(backbone_folder, collection, tmp_path / "new", dev_measure="nDCD@10")
    assert not (tmp_path / "new").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="not empty"):
        finetune(backbone_folder, collection, tmp_path / "full", **CONFIG)
    assert (
        main(["finetune", str(tmp_path / "none"), "--data", str(collection), "--output-dir", str(tmp_path / "o")]) == 2
    )
    assert main(["finetune", str(backbone_folder), "--data", str(tmp_path), "--output-dir", str(tmp_path / "o")]) == 2


def test_options_by_name_from_python(backbone_folder: Path, collection: Path, tmp_path: Path):
    """A recipe, single options, models and data in memory; what is unknown is refused before any work."""
    for options, said in (
        ({"optim": "adam"}, "adam"),
        ({"sampling": "simms"}, "sampling is 'simms'; choose one of random, top, simans"),
        ({"round2_negatives": "bm25"}, "choose one of both, mined"),
        ({"batch_sizes": 3}, "no option 'batch_sizes'"),
        ({"recipe": "gtx"}, "no recipe 'gtx'"),
        ({"args": RetrieverTrainingArguments(), "max_steps": 3}, "not both"),
    ):
        with pytest.raises((InputError, ValueError), match=said):
            finetune(backbone_folder, collection, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    config = {**CONFIG, "max_steps": 2, "rounds": 1, "eval_steps": 2, "lr_scheduler_type": "constant"}
    data = [load_retrieval_data(collection, "train"), collection]
    model = load_starting_point(backbone_folder, RetrieverTrainingArguments(**CONFIG))
    summary = finetune(model, data, tmp_path / "out", gradient_accumulation_steps=2, **config, **MINING)
    assert summary["finetuning"]["lr_scheduler_type"] == "constant"
    assert summary["finetuning"]["gradient_accumulation_steps"] == 2 and "report_to" not in summary["finetuning"]
    assert summary["data"]["name"] == "toy + toy" and summary["data"]["training_queries"] == 128 - 2 * 6
    encoder, tokenizer = AutoModel.from_pretrained(backbone_folder), AutoTokenizer.from_pretrained(backbone_folder)
    finetune(encoder, data[0], tmp_path / "plain", tokenizer=tokenizer, **config, **MINING)
    with pytest.raises(InputError, match="tokenizer"):
        finetune(encoder, data[0], tmp_path / "none", **config, **MINING)
