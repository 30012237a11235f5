"""What has to hold on a GPU too: other kernels, other generators of random numbers, a real scaler for fp16."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import BertConfig

from hf_cocondenser import CondenserConfig, CondenserForPreTraining
from hf_cocondenser.losses import linear_cross_entropy, span_contrastive_loss
from hf_cocondenser.retrieval.encode import encode_texts
from hf_cocondenser.retrieval.retriever import load_retriever
from tests.families import FAMILIES
from tests.pretraining.test_trainer import same, trainer_for, weights

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]

ON_GPU = {"use_cpu": False, "max_grad_norm": 1.0, "max_steps": 6}


@pytest.mark.parametrize("chunk_tokens", [40, 100, 10_000])
@pytest.mark.parametrize(
    ("precision", "atol"), [({}, 1e-5), ({"bf16": True}, 1e-3), ({"fp16": True}, 1e-3)], ids=["fp32", "bf16", "fp16"]
)
def test_cached_equals_uncached_with_dropout(tmp_path, chunk_tokens, precision, atol):
    """Both draw the same dropout masks, or weights would differ by as much as they move."""
    runs = []
    for cached in (True, False):
        options = ON_GPU | precision | {"grad_cache": cached, "chunk_tokens": chunk_tokens}
        trainer = trainer_for(tmp_path, dtype=torch.float32, **options)
        start = weights(trainer)
        trainer.train()
        runs.append(weights(trainer))
        assert next(trainer.model.parameters()).is_cuda
    moved = max(float((runs[0][k] - start[k].to(runs[0][k].device)).abs().max()) for k in start)
    assert moved > 10 * atol and same(*runs, atol=atol)


def test_cached_equals_uncached_to_rounding_in_float64(tmp_path):
    runs = []
    for cached in (True, False):
        trainer = trainer_for(tmp_path, **ON_GPU, grad_cache=cached)
        trainer.train()
        runs.append(weights(trainer))
    assert same(*runs, atol=1e-11)


@pytest.mark.parametrize("stage", ["condenser", "cocondenser"])
def test_steps_equal_the_cpus(tmp_path, stage):
    runs = []
    for use_cpu in (False, True):
        trainer = trainer_for(tmp_path, dropout=0.0, **(ON_GPU | {"use_cpu": use_cpu, "stage": stage}))
        trainer.train()
        runs.append({k: v.cpu() for k, v in weights(trainer).items()})
    assert same(*runs, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_replays_its_dropout(tmp_path, family, monkeypatch):
    """In float32, where attention may run in other kernels with a graph than without."""
    config = copy.deepcopy(FAMILIES[family])
    monkeypatch.setitem(FAMILIES, "bert", config)
    runs = []
    for cached in (True, False):
        options = ON_GPU | {"grad_cache": cached}
        trainer = trainer_for(tmp_path, dropout=0.2, dtype=torch.float32, **options)
        trainer.train()
        runs.append(weights(trainer))
    assert same(*runs, atol=1e-5)


@pytest.mark.parametrize("precision", [{}, {"bf16": True}, {"fp16": True}], ids=["fp32", "bf16", "fp16"])
def test_resume_is_exact(tmp_path, precision):
    options = ON_GPU | precision | {"max_steps": 8, "optim": "adamw_torch", "learning_rate": 1e-3,
                                    "save_strategy": "steps", "save_steps": 5}  # fmt: skip
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        through = trainer_for(tmp_path, dtype=torch.float32, **options)
        through.train()
        stopped = trainer_for(tmp_path, dtype=torch.float32, **options)
        stopped.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    finally:
        torch.use_deterministic_algorithms(False)
    assert same(weights(through), weights(stopped), atol=1e-6)


@pytest.mark.parametrize("autocast", [None, torch.bfloat16, torch.float16])
def test_vocabulary_loss_over_several_blocks(autocast, monkeypatch):
    """Against plain float64 on the CPU, with fewer tokens a block than there are."""
    monkeypatch.setattr("hf_cocondenser.losses.ACCELERATOR_LOGITS", 1)
    torch.manual_seed(0)
    hidden, weight, bias = torch.randn(700, 64), torch.randn(997, 64) / 8, torch.randn(997)
    labels = torch.randint(0, 997, (700,))
    exact = [t.double().requires_grad_() for t in (hidden, weight, bias)]
    loss = torch.nn.functional.cross_entropy(exact[0] @ exact[1].T + exact[2], labels, reduction="sum")
    loss.backward()
    ours = [t.cuda().requires_grad_() for t in (hidden, weight, bias)]
    with torch.autocast("cuda", autocast, enabled=autocast is not None):
        own, of_tokens = linear_cross_entropy(*ours, labels.cuda())
    own.backward()
    tolerance = 1e-5 if autocast is None else 1e-2
    assert float(own.detach()) == pytest.approx(float(loss.detach()), rel=tolerance)
    assert float(of_tokens.sum()) == pytest.approx(float(loss.detach()), rel=tolerance)
    for mine, reference in zip(ours, exact, strict=True):
        error = (mine.grad.double().cpu() - reference.grad).norm() / reference.grad.norm()
        assert error < tolerance


def test_contrastive_loss_equals_the_cpus():
    torch.manual_seed(0)
    vectors, documents = torch.randn(3000, 32), torch.arange(1500).repeat_interleave(2)
    results = []
    for device in ("cpu", "cuda"):
        leaf = vectors.to(device).double().requires_grad_()
        contrast = span_contrastive_loss(leaf, documents.to(device), 3.0)
        contrast.loss.backward()
        results.append((float(contrast.loss.detach()), float(contrast.accuracy), leaf.grad.cpu()))
    assert results[0][:2] == pytest.approx(results[1][:2], rel=1e-12)
    torch.testing.assert_close(results[0][2], results[1][2], rtol=1e-9, atol=1e-14)


def test_memory_of_a_cached_step_is_that_of_a_chunk(tmp_path):
    """Sixteen times the documents in chunks of one size: hidden states of one chunk at a time."""
    peaks = []
    for documents in (64, 1024):
        torch.manual_seed(0)
        model = CondenserForPreTraining(
            CondenserConfig(BertConfig(vocab_size=97, num_hidden_layers=4, hidden_size=256, num_attention_heads=4))
        )
        trainer = trainer_for(
            tmp_path, dtype=torch.float32, documents=documents,
            **(ON_GPU | {"max_steps": 1, "per_device_train_batch_size": documents, "chunk_tokens": 1024}),
        )  # fmt: skip
        trainer.model = trainer.model_wrapped = model.cuda()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        trainer.train()
        peaks.append(torch.cuda.max_memory_allocated() - before)
    assert peaks[1] < 1.3 * peaks[0]


def test_encoding_gives_the_cpus_vectors():
    """The shipped model over texts of mixed lengths, in float32."""
    texts = ["one", "two words", "a longer passage about dense retrieval " * 8, "short again"] * 5
    found = []
    for device in ("cpu", "cuda"):
        found.append(encode_texts(load_retriever("cocondenser-tiny", device=device), texts, precision="float32"))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-4)
