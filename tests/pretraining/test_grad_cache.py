"""The gradient cache gives the gradient of one big pass: dropout on, any chunking, both losses, bf16 and fp16."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from hf_cocondenser import CondenserConfig, CondenserForPreTraining
from hf_cocondenser.losses import span_contrastive_loss
from hf_cocondenser.pretraining import grad_cache
from hf_cocondenser.pretraining.grad_cache import GradCache, draw_seeds, seeded
from tests.families import FAMILIES, random_batch


def step_of(
    model: CondenserForPreTraining, batch: dict[str, Tensor], sizes: list[int], method: str, autocast=None, **kwargs
):
    """One step in chunks of the given sizes; returns the gradients by name and the contrastive loss."""
    model.zero_grad()
    masked = (batch["labels"] != -100).sum()
    pieces = {k: v.split(sizes) for k, v in batch.items()}
    chunks = [{k: v[i] for k, v in pieces.items()} for i in range(len(sizes))]

    def context():
        return torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None)

    def encode(chunk):
        with context():
            return model.condenser(chunk["input_ids"], chunk["attention_mask"]).last_hidden_state[:, 0]

    def forward(chunk):
        with context():
            output = model(chunk["input_ids"], chunk["attention_mask"], chunk["labels"], num_items_in_batch=masked)
        return output.cls, output.loss

    torch.manual_seed(7)
    cache = GradCache(encode, forward, **kwargs)
    loss = getattr(cache, method)(
        chunks, lambda vectors: span_contrastive_loss(vectors, batch["document_ids"], 32**0.5).loss
    )
    return {name: p.grad.clone() for name, p in model.named_parameters()}, loss


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    scale = max(float(g.abs().max()) for g in one.values())
    return max(float((one[name] - other[name]).abs().max()) for name in one) / scale


def model_with(family: str = "bert", late_mlm: bool = True, dtype=torch.float64, dropout: float | None = None):
    torch.manual_seed(0)
    config = copy.deepcopy(FAMILIES[family])
    model = CondenserForPreTraining(CondenserConfig(config, late_mlm=late_mlm)).to(dtype).train()
    for module in model.modules():
        if dropout is not None and isinstance(module, torch.nn.Dropout):
            module.p = dropout
    return model


@pytest.mark.parametrize("sizes", [[10], [5, 5], [4, 4, 2], [1] * 10, [3, 3, 3, 1]])
@pytest.mark.parametrize("late_mlm", [True, False])
def test_cached_equals_uncached_in_float64_with_dropout(sizes, late_mlm):
    model = model_with(late_mlm=late_mlm, dropout=0.3)
    batch = random_batch(model.config, spans=10)
    plain, plain_loss = step_of(model, batch, sizes, "uncached_step")
    cached, cached_loss = step_of(model, batch, sizes, "step")
    torch.testing.assert_close(cached_loss, plain_loss, rtol=1e-12, atol=1e-12)
    assert largest_difference(plain, cached) < 1e-12


@pytest.mark.parametrize("family", FAMILIES)
def test_cached_equals_uncached_for_every_family(family):
    model = model_with(family)
    batch = random_batch(model.config, spans=6)
    plain, _ = step_of(model, batch, [4, 2], "uncached_step")
    cached, _ = step_of(model, batch, [4, 2], "step")
    assert largest_difference(plain, cached) < 1e-11


def test_any_chunking_gives_the_gradient_of_one_plain_pass():
    """Without dropout the cut does not matter: against autograd on the whole batch at once."""
    model = model_with(dropout=0.0)
    batch = random_batch(model.config, spans=10)
    output = model(batch["input_ids"], batch["attention_mask"], batch["labels"])
    (output.loss + span_contrastive_loss(output.cls, batch["document_ids"], 32**0.5).loss).backward()
    plain = {name: p.grad.clone() for name, p in model.named_parameters()}
    for sizes in ([10], [7, 3], [2] * 5, [1] * 10):
        cached, _ = step_of(model, batch, sizes, "step")
        assert largest_difference(plain, cached) < 1e-11, sizes


@pytest.mark.parametrize(("autocast", "tolerance"), [(None, 2e-5), (torch.bfloat16, 1e-6), (torch.float16, 1e-6)])
def test_low_precision_and_float32(autocast, tolerance):
    """The replayed pass is the very same arithmetic, so bf16 and fp16 differ by accumulation order alone."""
    model = model_with(dtype=torch.float32, dropout=0.2)
    batch = random_batch(model.config, spans=10)
    plain, _ = step_of(model, batch, [4, 4, 2], "uncached_step", autocast)
    cached, _ = step_of(model, batch, [4, 4, 2], "step", autocast)
    assert largest_difference(plain, cached) < max(tolerance, 0 if autocast is None else 2e-2)


def test_loss_scaling_for_fp16_scales_both_parts():
    model = model_with(dropout=0.2)
    batch = random_batch(model.config, spans=6)
    plain, _ = step_of(model, batch, [4, 2], "step")
    scaled, _ = step_of(model, batch, [4, 2], "step", backward=lambda loss: (loss * 1024).backward())
    assert largest_difference(plain, {k: v / 1024 for k, v in scaled.items()}) < 1e-12


def test_a_step_leaves_the_global_generator_as_one_draw_does():
    model = model_with(dropout=0.2)
    step_of(model, random_batch(model.config), [3, 3], "step")
    after = torch.rand(1)
    torch.manual_seed(7)
    draw_seeds(2)
    assert torch.equal(torch.rand(1), after)


def test_gradients_are_exchanged_once():
    events = []

    class Recorder:
        def __enter__(self):
            events.append("no_sync")

        def __exit__(self, *_):
            events.append("end")

    model = model_with()
    step_of(
        model,
        random_batch(model.config),
        [2, 2, 2],
        "step",
        no_sync=Recorder,
        backward=lambda loss: (events.append("backward"), loss.backward()),
    )
    assert events == ["no_sync", "backward", "end", "no_sync", "backward", "end", "backward"]


def test_replay_without_the_same_random_numbers_would_be_noticed(monkeypatch):
    """The equality tests above can fail: break the replay and they must."""
    model = model_with(dropout=0.3)
    batch = random_batch(model.config, spans=10)
    plain, _ = step_of(model, batch, [5, 5], "uncached_step")
    calls = iter(range(100))
    monkeypatch.setattr(grad_cache, "seeded", lambda seed, device: seeded(seed + next(calls), device))
    cached, _ = step_of(model, batch, [5, 5], "step")
    assert largest_difference(plain, cached) > 1e-3


def test_the_first_pass_keeps_vectors_and_nothing_they_are_a_view_of():
    hidden_states = torch.randn(6, 50, 4)
    cache = GradCache(lambda chunk: chunk[:, 0], lambda chunk: (chunk[:, 0], None))
    chunks = hidden_states.split(2)
    vectors = cache.encode_without_graph(chunks, draw_seeds(3))
    assert torch.equal(torch.cat(vectors), hidden_states[:, 0])
    assert all(kept.untyped_storage().nbytes() == kept.nbytes for kept in vectors)
