"""The losses against their equations, written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hf_cocondenser import losses
from hf_cocondenser.losses import linear_cross_entropy, sibling_index, span_contrastive_loss


def contrast_by_equation(spans: Tensor, pairs: list[int], temperature: float = 1.0) -> Tensor:
    """arXiv 2108.05540, eq. 2, one span at a time."""
    terms = []
    for i in range(len(spans)):
        scores = torch.stack([spans[i] @ spans[j] / temperature for j in range(len(spans)) if j != i])
        terms.append(torch.logsumexp(scores, 0) - spans[i] @ spans[pairs[i]] / temperature)
    return torch.stack(terms).mean()


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("blocks", [(1024, 4096), (3, 4), (1, 1), (7, 2)])
def test_span_contrast_equals_the_equation_however_it_is_blocked(monkeypatch, temperature, blocks):
    monkeypatch.setattr(losses, "SPAN_ROWS", blocks[0])
    monkeypatch.setattr(losses, "SPAN_COLUMNS", blocks[1])
    torch.manual_seed(0)
    spans = torch.randn(10, 5, dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([4, 9, 4, 7, 7, 1, 2, 1, 9, 2])
    pairs = [next(j for j in range(10) if j != i and ids[j] == ids[i]) for i in range(10)]
    expected = contrast_by_equation(spans, pairs, temperature)
    (expected_grad,) = torch.autograd.grad(expected, spans)
    contrast = span_contrastive_loss(spans, ids, temperature)
    (grad,) = torch.autograd.grad(contrast.loss * 3, spans)
    torch.testing.assert_close(contrast.loss, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(grad, 3 * expected_grad, rtol=1e-11, atol=1e-12)
    assert contrast.negatives == 8


def test_span_contrast_accuracy_counts_siblings_that_come_first():
    spans = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    contrast = span_contrastive_loss(spans, torch.tensor([0, 0, 1, 1]))
    # spans 0 and 1 both prefer span 3; span 2 sees three ties at 0 and takes the first; span 3 prefers span 0
    assert contrast.accuracy == 0
    spans[2] = torch.tensor([5.0, 1.0])
    assert span_contrastive_loss(spans, torch.tensor([0, 0, 1, 1])).accuracy == 0.5


@pytest.mark.parametrize("ids", [[0, 0, 0, 0], [0, 0, 1], [0, 1, 2, 3], [0, 0, 0, 1]])
def test_siblings_are_asserted(ids):
    with pytest.raises(ValueError, match="needs two spans of every document"):
        sibling_index(torch.tensor(ids))


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("block", [256, 3])
def test_linear_cross_entropy_equals_the_dense_one(monkeypatch, with_bias, block):
    monkeypatch.setattr(losses, "TOKEN_BLOCK", block)
    monkeypatch.setattr(losses, "WEIGHT_BLOCK", 2 * block + 1)
    torch.manual_seed(0)
    hidden = torch.randn(11, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(17, 6, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(17, dtype=torch.float64, requires_grad=True) if with_bias else None
    labels = torch.randint(17, (11,))
    inputs = [t for t in (hidden, weight, bias) if t is not None]
    expected = F.cross_entropy(F.linear(hidden, weight, bias), labels, reduction="sum")
    actual, of_tokens = linear_cross_entropy(hidden, weight, bias, labels)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    dense = F.cross_entropy(F.linear(hidden, weight, bias), labels, reduction="none")
    torch.testing.assert_close(of_tokens, dense.detach(), rtol=1e-12, atol=1e-12)
    assert not of_tokens.requires_grad
    for grad, wanted in zip(
        torch.autograd.grad(actual / 7, inputs), torch.autograd.grad(expected / 7, inputs), strict=True
    ):
        torch.testing.assert_close(grad, wanted, rtol=1e-11, atol=1e-12)


def test_linear_cross_entropy_under_autocast_is_the_full_precision_one_to_bf16_rounding():
    torch.manual_seed(0)
    hidden, weight = torch.randn(64, 32, requires_grad=True), torch.randn(50, 32, requires_grad=True)
    labels = torch.randint(50, (64,))
    expected, _ = linear_cross_entropy(hidden, weight, None, labels)
    with torch.autocast("cpu", torch.bfloat16):
        actual, _ = linear_cross_entropy(hidden, weight, None, labels)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected, rtol=1e-2, atol=0)
    actual.backward()
    assert weight.grad is not None and weight.grad.dtype == torch.float32


def test_the_gradient_of_linear_cross_entropy_is_handed_out_once():
    hidden, weight = torch.randn(5, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    loss, _ = linear_cross_entropy(hidden, weight, None, torch.arange(5))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        loss.backward()


def test_no_masked_token_costs_nothing():
    hidden, weight = torch.randn(0, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    loss, _ = linear_cross_entropy(hidden, weight, None, torch.empty(0, dtype=torch.long))
    loss.backward()
    assert loss == 0 and weight.grad is not None and not weight.grad.any()
