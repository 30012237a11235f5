"""A loss term of one's own counts once: however a batch is cut, with and without the gradient cache, in evaluation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hf_cocondenser import InputError
from hf_cocondenser.losses import span_contrastive_loss
from hf_cocondenser.pretraining.trainer import CondenserTrainer
from tests.pretraining.test_trainer import same, take_steps, trainer_for, weights
from tests.toy_spans import ToySpans, collate


class ByChunk(CondenserTrainer):
    def chunk_loss(self, batch, output):
        return output.cls.pow(2).mean(1) * batch["attention_mask"].sum(1)


class ByBatch(CondenserTrainer):
    def batch_loss(self, vectors, document_ids):
        return (vectors - vectors.mean(0)).pow(2).sum() / len(vectors) + document_ids.sum() * 0.001


class ByComputeLoss(CondenserTrainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss, output = super().compute_loss(model, inputs, True, num_items_in_batch)
        loss = 0.5 * loss + (output.cls.pow(2).mean(1) * inputs["attention_mask"].sum(1)).mean()
        return (loss, output) if return_outputs else loss


KINDS = [ByChunk, ByBatch, ByComputeLoss]


def expected_loss(kind, model, batch, stage) -> Tensor:
    output = model(batch["input_ids"], batch["attention_mask"], batch["labels"])
    loss = output.loss
    if stage == "cocondenser":
        loss = loss + span_contrastive_loss(output.cls, batch["document_ids"], 5.0).loss
    by_length = (output.cls.pow(2).mean(1) * batch["attention_mask"].sum(1)).mean()
    if kind is ByBatch:
        return loss + (output.cls - output.cls.mean(0)).pow(2).sum(1).mean() + batch["document_ids"].sum() * 0.001
    return loss + by_length if kind is ByChunk else 0.5 * loss + by_length


@pytest.mark.parametrize("stage", ["condenser", "cocondenser"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_in_the_gradient_and_in_the_evaluation_once(tmp_path, kind, stage):
    for chunk_tokens in (1, 40, 10_000):
        trainer = trainer_for(
            tmp_path, kind, dropout=0.0, max_steps=1, documents=8, chunk_tokens=chunk_tokens, stage=stage,
            per_device_eval_batch_size=16,
        )  # fmt: skip
        with torch.no_grad():
            held_out = expected_loss(kind, trainer.model, collate([ToySpans(16)[i] for i in range(16)]), stage)
        assert trainer.evaluate()["eval_loss"] == pytest.approx(float(held_out), rel=1e-6)
        loss = expected_loss(kind, trainer.model, collate([ToySpans(8)[i] for i in range(8)]), stage)
        names, parameters = zip(*trainer.model.named_parameters(), strict=True)
        grads = torch.autograd.grad(loss, parameters)
        expected = {n: p - 0.05 * g for n, p, g in zip(names, parameters, grads, strict=True)}
        trainer.train()
        assert same(expected, dict(trainer.model.named_parameters()))
        assert trainer.state.log_history[-2]["loss"] == pytest.approx(float(loss.detach()), rel=1e-6)


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2}, {"stage": "condenser"}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_cached_equals_uncached_with_dropout(tmp_path, kind, options):
    runs = []
    for cached in (True, False):
        trainer = trainer_for(tmp_path, kind, grad_cache=cached, max_steps=2, **options)
        trainer.train()
        runs.append(weights(trainer))
    assert same(*runs)


@pytest.mark.distributed
@pytest.mark.parametrize("kind", KINDS)
def test_two_gloo_processes_equal_one(tmp_path, kind):
    one, one_log = take_steps(tmp_path / "one", 1, 8, trainer=kind.__name__)
    two, two_log = take_steps(tmp_path / "two", 2, 4, trainer=kind.__name__)
    assert same(one, two, atol=1e-10)
    assert two_log[0][0]["loss"] == pytest.approx(one_log[0][0]["loss"], rel=1e-5)
    assert two_log[1]["eval_loss"] == pytest.approx(one_log[1]["eval_loss"], rel=1e-5)


def test_a_constant_counts_once(tmp_path):
    class Constant(CondenserTrainer):
        def compute_loss(self, *args, **kwargs):
            return super().compute_loss(*args, **kwargs) + 5.0

    losses = []
    for kind in (CondenserTrainer, Constant):
        trainer = trainer_for(tmp_path, kind, dropout=0.0, max_steps=1, per_device_eval_batch_size=16)
        trainer.train()
        losses.append((trainer.state.log_history[0]["loss"], trainer.evaluate()["eval_loss"], weights(trainer)))
    assert losses[1][0] == pytest.approx(losses[0][0] + 5, rel=1e-6)
    assert losses[1][1] == pytest.approx(losses[0][1] + 5, rel=1e-6)
    assert same(losses[0][2], losses[1][2])


def test_an_overridden_compute_loss_is_called(tmp_path):
    class Raises(CondenserTrainer):
        def compute_loss(self, *args, **kwargs):
            raise RuntimeError("called")

    with pytest.raises(RuntimeError, match="called"):
        trainer_for(tmp_path, Raises).train()
    with pytest.raises(RuntimeError, match="called"):
        trainer_for(tmp_path, Raises, per_device_eval_batch_size=16).evaluate()


def test_a_loss_of_the_models_alone_is_what_is_trained_on(tmp_path):
    class Plain(CondenserTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            return model(inputs["input_ids"], inputs["attention_mask"], inputs["labels"]).loss

    trainer = trainer_for(tmp_path, Plain, dropout=0.0, max_steps=1)
    plain = trainer_for(tmp_path, dropout=0.0, max_steps=1, stage="condenser")
    trainer.train()
    plain.train()
    assert same(weights(trainer), weights(plain))


def test_a_chunk_loss_that_is_no_number_for_each_span_is_refused(tmp_path):
    class Scalar(CondenserTrainer):
        def chunk_loss(self, batch, output):
            return output.cls.mean()

    with pytest.raises(InputError, match=r"shape \(\); it must give one number for each"):
        trainer_for(tmp_path, Scalar).train()


def test_own_terms_are_logged_beside_the_others(tmp_path):
    class Both(ByChunk, ByBatch):
        pass

    trainer = trainer_for(tmp_path, Both, max_steps=1, per_device_eval_batch_size=16)
    trainer.train()
    log, metrics = trainer.state.log_history[0], trainer.evaluate()
    parts = ("head_mlm_loss", "late_mlm_loss", "contrastive_loss", "chunk_loss", "batch_loss")
    assert log["loss"] == pytest.approx(sum(log[name] for name in parts), rel=1e-5)
    assert metrics["eval_loss"] == pytest.approx(sum(metrics[f"eval_{name}"] for name in parts), rel=1e-5)
