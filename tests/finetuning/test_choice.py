"""What is kept of a training: never less than the start on the development queries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.choice import choose_weights, smallest_sure_step, weights_of
from hf_cocondenser.finetuning.dev import DevEvaluator
from hf_cocondenser.finetuning.finetune import finetune
from hf_cocondenser.finetuning.training import round_arguments
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data

OPTIONS = {"rounds": 1, "per_device_train_batch_size": 16, "bf16": False, "query_length": 16, "passage_length": 32}


def test_the_smallest_step_that_is_not_surely_worse():
    rng = np.random.default_rng(0)
    start = rng.random(100)
    assert smallest_sure_step({0.0: start, 0.5: start + rng.normal(0.01, 0.5, 100), 1.0: start - 0.1}) == 0.0
    better = start + 0.2
    assert smallest_sure_step({0.0: start, 0.5: better - 0.1, 1.0: better}) == 1.0
    noisy = better + rng.normal(0.0, 0.3, 100)
    assert smallest_sure_step({0.0: start, 0.5: better, 1.0: noisy - noisy.mean() + better.mean() + 0.001}) == 0.5
    assert smallest_sure_step({0.0: start, 1.0: start}) == 0.0


def test_weights_between(make_retriever: Callable, beir_folder: Path):
    model = make_retriever()
    start = weights_of(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    found = choose_weights(model, start, DevEvaluator(load_retrieval_data(beir_folder, "dev")))
    assert found["dev_by_alpha"].keys() == {"0", "0.25", "0.5", "0.75", "1"} and len(found["values"]) == 16
    assert found["dev"]["nDCG@10"] >= found["dev_before"]["nDCG@10"]
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.detach(), start[name] + found["alpha"])


@pytest.mark.parametrize(("rate", "steps"), [(1.0, 10), (2e-3, 60)])
def test_the_start_is_handed_back_where_training_did_harm(
    make_retriever: Callable, beir_folder: Path, tmp_path: Path, rate: float, steps: int
):
    start = make_retriever()
    options = {**OPTIONS, "max_steps": steps, "eval_steps": steps, "learning_rate": rate}
    dev = load_retrieval_data(beir_folder, "train")  # what it learns
    summary = finetune(start, beir_folder, tmp_path / "out", dev=dev, **options, query_prompt="w7 ")
    result = summary["steps"]["round1"]
    kept = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    same = all(torch.equal(value, start.state_dict()[name]) for name, value in kept.state_dict().items())
    assert same == (rate == 1.0) == (result["alpha"] == 0.0)
    assert result["dev"]["nDCG@10"] >= result["dev_before"]["nDCG@10"] and "dev_trained" in result
    assert kept.prompts["query"] == "w7 "
    card = json.loads((tmp_path / "out" / "finetuning.json").read_text())
    assert card["finetuning"]["query_prompt"] == "w7 " and card["development"]["keep_best_of"] == "interpolations"


def test_an_open_length_ends_when_the_measure_stops_rising(
    make_retriever: Callable, beir_folder: Path, tmp_path: Path
):
    args = RetrieverTrainingArguments(per_device_train_batch_size=10)
    evaluator = DevEvaluator(load_retrieval_data(beir_folder, "dev"))
    assert round_arguments(args, tmp_path, 1000, None).max_steps == 300
    assert round_arguments(args, tmp_path, 1000, evaluator).max_steps == 1000
    assert round_arguments(args, tmp_path, 10_000, evaluator).max_steps == 3000
    assert round_arguments(args, tmp_path, 20, evaluator).max_steps == 160  # eighty passes at most
    assert round_arguments(args.changed(num_train_epochs=2), tmp_path, 100, evaluator).max_steps == -1
    options = {**OPTIONS, "eval_steps": 2, "learning_rate": 1e-12, "patience": 3}
    summary = finetune(make_retriever(), beir_folder, tmp_path / "out", **options)
    assert 6 <= summary["steps"]["round1"]["steps"] <= 8  # nothing rises at so low a rate
