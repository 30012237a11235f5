"""The trainer's step is the step of the global batch: cached or not, cut anyhow, on one process or two."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hf_cocondenser import CondenserConfig, CondenserForPreTraining, InputError
from hf_cocondenser.losses import span_contrastive_loss
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments
from hf_cocondenser.pretraining.chunks import cut_batch
from hf_cocondenser.pretraining.trainer import CondenserTrainer
from tests.families import FAMILIES, random_batch
from tests.launch import ROOT, torchrun
from tests.toy_spans import ToySpans, collate


def trainer_for(
    tmp_path,
    kind=CondenserTrainer,
    dropout: float = 0.1,
    documents: int = 24,
    dtype=torch.float64,
    head: dict | None = None,
    **options,
) -> CondenserTrainer:
    torch.manual_seed(0)
    backbone = copy.deepcopy(FAMILIES["bert"])
    backbone.hidden_dropout_prob = backbone.attention_probs_dropout_prob = dropout
    model = CondenserForPreTraining(CondenserConfig(backbone, **(head or {}))).to(dtype)
    settings = {
        "output_dir": str(tmp_path), "per_device_train_batch_size": 8, "max_steps": 3, "learning_rate": 0.05,
        "optim": "sgd", "use_cpu": True, "lr_scheduler_type": "constant", "warmup_steps": 0, "logging_steps": 1,
        "save_strategy": "no", "report_to": "none", "max_grad_norm": 0.0, "weight_decay": 0.0, "temperature": 5.0,
        "disable_tqdm": True, "chunk_tokens": 40,
    }  # fmt: skip
    args = CondenserTrainingArguments(**(settings | options))
    return kind(model, args, train_dataset=ToySpans(documents), eval_dataset=ToySpans(16), data_collator=collate)


def weights(trainer: CondenserTrainer) -> dict[str, torch.Tensor]:
    return {k: v.detach().clone() for k, v in trainer.model.state_dict().items()}


def same(one, other, atol=1e-11) -> bool:
    return all(torch.allclose(one[k], other[k], rtol=0, atol=atol) for k in one)


def test_a_step_follows_the_equations(tmp_path):
    """SGD at rate r from known weights: w - r * d(L_mlm + L_co)/dw, by plain autograd on the whole batch."""
    trainer = trainer_for(tmp_path, dropout=0.0, max_steps=1, documents=8)
    reference = copy.deepcopy(trainer.model)
    trainer.train()
    batch = collate([ToySpans(8)[i] for i in range(8)])
    output = reference(batch["input_ids"], batch["attention_mask"], batch["labels"])
    contrast = span_contrastive_loss(output.cls, batch["document_ids"], 5.0)
    (output.loss + contrast.loss).backward()
    expected = {name: p - 0.05 * p.grad for name, p in reference.named_parameters()}
    assert same(expected, dict(trainer.model.named_parameters()))
    log = trainer.state.log_history[0]
    assert log["loss"] == pytest.approx(float(output.loss + contrast.loss), rel=1e-6)
    assert log["head_mlm_loss"] == pytest.approx(float(output.head_mlm_loss))
    assert log["late_mlm_loss"] == pytest.approx(float(output.late_mlm_loss))
    assert log["contrastive_loss"] == pytest.approx(float(contrast.loss))
    assert log["contrastive_accuracy"] == pytest.approx(float(contrast.accuracy))
    assert log["negatives_per_span"] == 14 and log["tokens_per_second"] > 0 and 0 <= log["padding_share"] < 1


@pytest.mark.parametrize("chunk_tokens", [1, 40, 100, 10_000])
def test_cached_equals_uncached_with_dropout(tmp_path, chunk_tokens):
    runs = []
    for cached in (True, False):
        trainer = trainer_for(tmp_path, grad_cache=cached, chunk_tokens=chunk_tokens)
        trainer.train()
        runs.append(weights(trainer))
    assert same(*runs)


def test_chunking_changes_nothing_without_dropout(tmp_path):
    runs = []
    for stage in ("cocondenser", "condenser"):
        for chunk_tokens in (1, 50, 10_000):
            trainer = trainer_for(tmp_path, dropout=0.0, chunk_tokens=chunk_tokens, stage=stage)
            trainer.train()
            runs.append(weights(trainer))
    assert same(runs[0], runs[1]) and same(runs[0], runs[2]) and same(runs[3], runs[4]) and same(runs[3], runs[5])
    assert not same(runs[0], runs[3])


def test_bf16_trains_and_cached_stays_near_uncached(tmp_path):
    runs = []
    for cached in (True, False):
        trainer = trainer_for(tmp_path, grad_cache=cached, bf16=True, dtype=torch.float32)
        trainer.train()
        runs.append(weights(trainer))
    assert same(*runs, atol=2e-3) and not same(runs[0], weights(trainer_for(tmp_path, dtype=torch.float32)), atol=2e-3)


@pytest.mark.parametrize("chunk_tokens", [40, 10_000])
def test_accumulation_equals_one_larger_batch(tmp_path, chunk_tokens):
    """The masked-token means run over all accumulated batches: 2 x 8 documents are a batch of 16, and 4 x 4."""
    runs = []
    for batch, steps in ((16, 1), (8, 2), (4, 4)):
        trainer = trainer_for(
            tmp_path, dropout=0.0, max_steps=1, documents=16, stage="condenser", chunk_tokens=chunk_tokens,
            per_device_train_batch_size=batch, gradient_accumulation_steps=steps,
        )  # fmt: skip
        trainer.train()
        runs.append((weights(trainer), trainer.state.log_history[0]))
    for run, log in runs[1:]:
        assert same(runs[0][0], run)
        assert log["loss"] == pytest.approx(runs[0][1]["loss"], rel=1e-6)
        assert log["head_mlm_loss"] == pytest.approx(runs[0][1]["head_mlm_loss"], rel=1e-6)


def test_accumulation_averages_the_contrasts_of_its_batches(tmp_path):
    """Each accumulated batch contrasts its own spans; masked tokens are averaged over all of them."""
    trainer = trainer_for(tmp_path, dropout=0.0, max_steps=1, gradient_accumulation_steps=2, documents=16)
    reference = copy.deepcopy(trainer.model)
    trainer.train()
    batches = [collate([ToySpans(16)[i] for i in rows]) for rows in trainer.get_train_dataloader().batch_sampler]
    masked = sum((batch["labels"] != -100).sum() for batch in batches)
    for batch in batches:
        output = reference(batch["input_ids"], batch["attention_mask"], batch["labels"], num_items_in_batch=masked)
        contrast = span_contrastive_loss(output.cls, batch["document_ids"], 5.0)
        (output.loss + contrast.loss / 2).backward()
    expected = {name: p - 0.05 * p.grad for name, p in reference.named_parameters()}
    assert same(expected, dict(trainer.model.named_parameters()))


def take_steps(output: Path, processes: int, batch: int, **options) -> tuple[dict, list]:
    output.mkdir()
    arguments = ["-m", "tests.distributed_step", str(output), str(batch), json.dumps(options)]
    if processes > 1:
        torchrun(processes, arguments)
    else:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=True, timeout=240)
    return torch.load(output / "weights.pt", weights_only=True), json.loads((output / "log.json").read_text())


@pytest.mark.distributed
@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"grad_cache": False}, {"stage": "condenser"}, {"gradient_accumulation_steps": 2}]
)
def test_two_gloo_processes_equal_one(tmp_path, options):
    one, one_log = take_steps(tmp_path / "one", 1, 8, **options)
    two, two_log = take_steps(tmp_path / "two", 2, 4, **options)
    assert same(one, two, atol=1e-10)
    for name in ("loss", "head_mlm_loss", "late_mlm_loss", "contrastive_loss", "contrastive_accuracy"):
        if name in one_log[0][0]:
            assert two_log[0][0][name] == pytest.approx(one_log[0][0][name], rel=1e-5), name
            assert two_log[1][f"eval_{name}"] == pytest.approx(one_log[1][f"eval_{name}"], rel=1e-5), name


@pytest.mark.parametrize("stage", ["condenser", "cocondenser"])
def test_resume_is_exact(tmp_path, stage):
    """Stopped after a checkpoint in the middle of an epoch, with dropout on: the same weights as running through."""
    options = {"max_steps": 8, "stage": stage, "optim": "adamw_torch", "learning_rate": 1e-3, "save_strategy": "steps",
               "save_steps": 5, "max_grad_norm": 1.0}  # fmt: skip
    through = trainer_for(tmp_path / "through", **options)
    through.train()
    stopped = trainer_for(tmp_path / "through", **options)
    stopped.train(resume_from_checkpoint=str(tmp_path / "through" / "checkpoint-5"))
    assert same(weights(through), weights(stopped), atol=0)


def test_tokens_are_counted_without_padding_and_through_a_resume(tmp_path):
    options = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "learning_rate": 1e-4}
    through = trainer_for(tmp_path / "through", **options)
    through.train()
    wanted = sum(len(span) for i in range(24) for span in ToySpans(24)[i]["spans"])
    assert next(e["tokens"] for e in through.state.log_history if e.get("step") == 3) == wanted
    stopped = trainer_for(tmp_path / "through", **options)
    stopped.train(resume_from_checkpoint=str(tmp_path / "through" / "checkpoint-2"))
    assert stopped.tokens_seen == through.tokens_seen > wanted


@pytest.mark.parametrize(
    "saving",
    [
        {"save_strategy": "steps", "save_steps": 2},
        {"save_strategy": "best", "eval_strategy": "steps", "eval_steps": 2, "metric_for_best_model": "loss"},
    ],
)
def test_tokens_since_the_last_line_are_counted_after_a_resume(tmp_path, saving):
    options = {"max_steps": 4, "logging_steps": 3, "learning_rate": 1e-4, "per_device_eval_batch_size": 8, **saving}
    through = trainer_for(tmp_path / "through", **options)
    through.train()
    stopped = trainer_for(tmp_path / "through", **options)
    stopped.train(resume_from_checkpoint=str(tmp_path / "through" / "checkpoint-2"))
    assert stopped.tokens_seen == through.tokens_seen


@pytest.mark.parametrize(
    ("head", "absent"), [({"late_mlm": False}, "late_mlm_loss"), ({"n_head_layers": 0}, "head_mlm_loss")]
)
def test_a_loss_that_the_model_has_not_is_not_logged(tmp_path, head, absent):
    trainer = trainer_for(tmp_path, head=head, max_steps=1, per_device_eval_batch_size=16)
    trainer.train()
    trainer.evaluate()
    present = {"late_mlm_loss": "head_mlm_loss", "head_mlm_loss": "late_mlm_loss"}[absent]
    logged = {name for line in trainer.state.log_history for name in line}
    assert {present, f"eval_{present}", "contrastive_loss"} <= logged
    assert not {absent, f"eval_{absent}"} & logged


def test_evaluation_gives_the_parts(tmp_path):
    metrics = trainer_for(tmp_path, per_device_eval_batch_size=16).evaluate()
    assert metrics["eval_loss"] == pytest.approx(
        metrics["eval_head_mlm_loss"] + metrics["eval_late_mlm_loss"] + metrics["eval_contrastive_loss"], rel=1e-5
    )


def test_gradient_checkpointing_takes_the_same_step(tmp_path):
    """Without dropout: with it, the last blocks' is drawn for other tokens, since checkpointing needs them whole."""
    runs = []
    for checkpointing in (True, False):
        trainer = trainer_for(tmp_path, dropout=0.0, gradient_checkpointing=checkpointing)
        trainer.train()
        runs.append(weights(trainer))
    assert same(*runs)


def test_gradient_checkpointing_replays_its_dropout(tmp_path):
    runs = []
    for cached in (True, False):
        trainer = trainer_for(tmp_path, dropout=0.2, gradient_checkpointing=True, grad_cache=cached)
        trainer.train()
        runs.append(weights(trainer))
    assert same(*runs)


def test_cut_batch_sorts_by_length_and_keeps_every_span_once():
    batch = random_batch(FAMILIES["bert"], spans=10, length=12, seed=3)
    chunks = cut_batch(batch, 30)
    assert all(chunk["input_ids"].numel() <= 30 for chunk in chunks)
    assert all(chunk["attention_mask"].sum(1).max() == chunk["input_ids"].shape[1] for chunk in chunks)
    rows = sorted(tuple(row[row != 0].tolist()) for chunk in chunks for row in chunk["input_ids"])
    assert rows == sorted(tuple(row[row != 0].tolist()) for row in batch["input_ids"])
    ids = torch.cat([chunk["document_ids"] for chunk in chunks])
    assert ids.sort().values.equal(batch["document_ids"].sort().values)


def test_a_span_over_the_budget_is_a_chunk_of_its_own():
    assert len(cut_batch(random_batch(FAMILIES["bert"], spans=4), 1)) == 4


def test_fewer_documents_than_a_batch_is_refused(tmp_path):
    with pytest.raises(InputError, match="fewer than one global batch of 8"):
        trainer_for(tmp_path, documents=7)


def test_one_document_batches_are_refused(tmp_path):
    with pytest.raises(InputError, match="no negatives"):
        trainer_for(tmp_path, per_device_train_batch_size=1)


def test_documents_that_come_twice_in_a_batch_of_several_processes_are_refused(tmp_path, monkeypatch):
    """accelerate fills the last batch of an epoch up with the first documents, so that no process waits for another."""
    monkeypatch.setattr(CondenserTrainingArguments, "world_size", 2)
    with pytest.raises(InputError, match="leave dataloader_drop_last on"):
        trainer_for(tmp_path, dataloader_drop_last=False)


@pytest.mark.parametrize(
    "option",
    [
        {"stage": "x"},
        {"chunk_tokens": 0},
        {"temperature": 0.0},
        {"dataloader_persistent_workers": True, "dataloader_num_workers": 1},
    ],
)
def test_bad_options(tmp_path, option):
    with pytest.raises(InputError):
        CondenserTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **option)
