"""Masked-token cross-entropy without the logits, and the span contrastive loss without the similarity matrix.

Both make their gradient block by block, so neither the (tokens, vocabulary) logits nor the (spans, spans)
similarities are ever held whole. Sums are kept in float32 (float64 when given it) whatever autocast does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .errors import InputError

TOKEN_BLOCK, WEIGHT_BLOCK = 256, 1024  # tokens whose logits exist at once; tokens a weight gradient is made from
ACCELERATOR_LOGITS = 2**26  # at once where small blocks would wait for their kernels' launches: 128 MiB in bf16
SPAN_ROWS, SPAN_COLUMNS = 1024, 4096


def _blocks(length: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def _vocabulary_blocks(device: torch.device, vocabulary: int, sums_in_place: bool) -> tuple[int, int]:
    """Tokens whose logits exist at once, and tokens that a weight gradient is made from, a multiple of them."""
    if device.type != "cpu":
        block = max(TOKEN_BLOCK, ACCELERATOR_LOGITS // vocabulary)
        return block, block
    # a product adds to the weight's gradient by itself, unless that is kept in another type: then fewer, larger ones
    return TOKEN_BLOCK, TOKEN_BLOCK if sums_in_place else WEIGHT_BLOCK


class _LinearCrossEntropy(Function):
    """Sum over tokens of CE(hidden @ weight.T + bias, label), and every token's own, without a gradient.

    The gradient is made while the logits are at hand. Buffers have the same size in every call, however few tokens it
    has: memory given back in ever other sizes is hard to use again (a vocabulary's rows are large).
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        compute_dtype: torch.dtype,
        with_grad: bool,
    ) -> tuple[Tensor, Tensor]:
        sums = torch.promote_types(compute_dtype, torch.float32)
        small_hidden, small_weight = hidden.to(compute_dtype), weight.to(compute_dtype)
        small_bias = None if bias is None else bias.to(compute_dtype)
        losses = torch.empty(len(labels), dtype=sums, device=hidden.device)
        token_block, weight_block = _vocabulary_blocks(weight.device, len(weight), compute_dtype == sums)
        logits_room = weight.new_empty(token_block, len(weight), dtype=compute_dtype)
        room = weight.new_empty(weight_block, len(weight), dtype=compute_dtype)
        if with_grad:
            grad_hidden = torch.empty_like(small_hidden)
            grad_weight = torch.zeros_like(weight, dtype=sums)
            grad_bias = None if bias is None else torch.zeros_like(bias, dtype=sums)
        for outer in _blocks(len(labels), weight_block):
            filled = room[: outer.stop - outer.start]
            for inner in _blocks(len(filled), token_block):
                block = slice(outer.start + inner.start, outer.start + inner.stop)
                logits = logits_room[: inner.stop - inner.start]
                if small_bias is None:
                    torch.mm(small_hidden[block], small_weight.T, out=logits)
                else:
                    torch.addmm(small_bias, small_hidden[block], small_weight.T, out=logits)
                if compute_dtype == sums:
                    log_probabilities = torch.log_softmax(logits, dim=1, out=filled[inner])
                else:
                    log_probabilities = torch.log_softmax(logits, dim=1, dtype=sums)
                target = labels[block, None]
                losses[block] = -log_probabilities.gather(1, target).squeeze(1)
                if with_grad:
                    grad_logits = log_probabilities.exp_()
                    grad_logits.scatter_add_(1, target, grad_logits.new_full(target.shape, -1.0))
                    if grad_bias is not None:
                        grad_bias += grad_logits.sum(0)
                    if compute_dtype != sums:
                        filled[inner] = grad_logits
            if with_grad:
                torch.mm(filled, small_weight, out=grad_hidden[outer])
                if compute_dtype == sums:
                    grad_weight.addmm_(filled.T, small_hidden[outer])
                else:
                    grad_weight += filled.T @ small_hidden[outer]
        if with_grad:
            ctx.grads = grad_hidden, grad_weight, grad_bias
            ctx.dtypes = hidden.dtype, weight.dtype, None if bias is None else bias.dtype
        ctx.mark_non_differentiable(losses)
        return losses.sum(), losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.grads is None:
            raise RuntimeError("linear_cross_entropy can be back-propagated through once: its gradient is handed on.")
        # scaled in place and let go of, so that autograd may add to them in place too
        grads, ctx.grads = ctx.grads, None
        scaled = (
            None if grad is None else grad.mul_(scale).to(dtype) for grad, dtype in zip(grads, ctx.dtypes, strict=True)
        )
        return (*scaled, None, None, None)


def linear_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the cross-entropies of `softmax(hidden @ weight.T + bias)`, without ever holding all logits.

    Args:
        hidden: (tokens, size).
        weight: (vocabulary, size).
        bias: (vocabulary,) or `None`.
        labels: (tokens,) the right entries; every one counts (select the masked positions first).

    Returns:
        The sum, a scalar whose gradient can be asked for once, and the tokens' own cross-entropies (tokens,), without a
        graph. In float32 (float64 for float64 input); matrix products run in autocast's type where that is on.
    """
    device = hidden.device.type
    compute_dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    with_grad = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (hidden, weight, bias))
    with torch.autocast(device, enabled=False):
        return _LinearCrossEntropy.apply(hidden, weight, bias, labels, compute_dtype, with_grad)


@dataclass(frozen=True)
class SpanContrast:
    """What `span_contrastive_loss` gives: all of the GLOBAL batch, equal on every rank.

    Attributes:
        loss: scalar; its gradient with respect to this rank's vectors is that of the whole global loss.
        accuracy: share of spans whose sibling scores above every other span.
        negatives: negatives per span.
    """

    loss: Tensor
    accuracy: Tensor
    negatives: int


def sibling_index(document_ids: Tensor) -> Tensor:
    """For every span the position of the other span of its document, (spans,).

    Raises:
        InputError: an id does not stand on exactly two spans.
    """
    order = document_ids.argsort(stable=True)
    ids = document_ids[order]
    first, second = ids[0::2], ids[1::2]
    if len(ids) % 2 or not torch.equal(first, second) or bool((first[1:] == first[:-1]).any()):
        raise InputError(
            "The coCondenser loss needs two spans of every document: a document_id of this batch stands on another number "
            "of spans. Draw pairs (SpanDataset(..., pairs=True)), and give documents of several data sets different ids."
        )
    siblings = torch.empty_like(order)
    siblings[order[0::2]], siblings[order[1::2]] = order[1::2], order[0::2]
    return siblings


def _similarities(own: Tensor, everyone: Tensor, rows: slice, columns: slice, offset: int) -> Tensor:
    """Scores of a block of this rank's spans against a block of all spans, -inf where a span meets itself."""
    scores = own[rows] @ everyone[columns].T
    position = torch.arange(rows.start, rows.stop, device=own.device) + offset - columns.start
    inside = (position >= 0) & (position < columns.stop - columns.start)
    scores[inside.nonzero().squeeze(1), position[inside]] = -torch.inf
    return scores


class _SpanContrast(Function):
    """L = mean_i (logsumexp_{j != i} s_ij - s_i,sibling(i)) over ALL spans (arXiv 2108.05540, eq. 2).

    With s_ij = <h_i, h_j> and P = softmax of s without its diagonal,
    dL/dh_i = 1/S [sum_j (P_ij + P_ji) h_j - 2 h_sibling(i)].
    """

    @staticmethod
    def forward(
        ctx: Any, own: Tensor, everyone: Tensor, siblings: Tensor, sizes: list[int], rank: int
    ) -> tuple[Tensor, Tensor]:
        offset = sum(sizes[:rank])
        normalisers, correct = [], []
        own_siblings = siblings[offset : offset + len(own)]
        for rows in _blocks(len(own), SPAN_ROWS):
            sibling_scores = (own[rows] * everyone[own_siblings[rows]]).sum(1)
            normaliser = torch.full_like(sibling_scores, -torch.inf)
            best = torch.full_like(own_siblings[rows], -1)
            best_score = torch.full_like(sibling_scores, -torch.inf)
            for columns in _blocks(len(everyone), SPAN_COLUMNS):
                scores = _similarities(own, everyone, rows, columns, offset)
                normaliser = torch.logaddexp(normaliser, scores.logsumexp(1))
                block_score, block_best = scores.max(1)
                best = torch.where(block_score > best_score, block_best + columns.start, best)
                best_score = torch.maximum(best_score, block_score)
            normalisers.append(torch.stack([normaliser, normaliser - sibling_scores], dim=1))
            correct.append(best == own_siblings[rows])
        local = torch.cat([torch.cat(normalisers), torch.cat(correct).to(own.dtype)[:, None]], dim=1)
        overall = _gather_rows(local, sizes)
        ctx.save_for_backward(own, everyone, own_siblings, overall[:, 0])
        ctx.offset = offset
        ctx.mark_non_differentiable(accuracy := overall[:, 2].mean())
        return overall[:, 1].mean(), accuracy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        own, everyone, own_siblings, normalisers = ctx.saved_tensors
        grad = -2 * everyone[own_siblings]
        for rows in _blocks(len(own), SPAN_ROWS):
            mine = normalisers[rows.start + ctx.offset : rows.stop + ctx.offset, None]
            for columns in _blocks(len(everyone), SPAN_COLUMNS):
                scores = _similarities(own, everyone, rows, columns, ctx.offset)
                weights = (scores - mine).exp_().add_((scores - normalisers[None, columns]).exp_())
                grad[rows] += weights @ everyone[columns]
        return grad * (scale / len(everyone)), None, None, None, None


def _gather_rows(local: Tensor, sizes: list[int]) -> Tensor:
    """Concatenate every rank's rows (numbers of rows may differ), without a gradient."""
    if len(sizes) == 1:
        return local
    padded = local.new_zeros(max(sizes), *local.shape[1:])
    padded[: len(local)] = local
    received = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(received, padded)
    return torch.cat([rows[:size] for rows, size in zip(received, sizes, strict=True)])


def _gather_sizes(length: int, device: torch.device) -> tuple[list[int], int]:
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return [length], 0
    received = [torch.empty(1, dtype=torch.long, device=device) for _ in range(dist.get_world_size())]
    dist.all_gather(received, torch.tensor([length], device=device))
    return [int(size) for size in received], dist.get_rank()


def gather_rows(own: Tensor) -> Tensor:
    """The rows of all processes in the order of their ranks, (all rows, ...); the gradient flows into one's own.

    Args:
        own: this rank's rows; numbers may differ between ranks.
    """
    sizes, rank = _gather_sizes(len(own), own.device)
    everyone = _gather_rows(own.detach(), sizes)
    before = sum(sizes[:rank])
    return torch.cat([everyone[:before], own, everyone[before + len(own) :]])


def span_contrastive_loss(spans: Tensor, document_ids: Tensor, temperature: float = 1.0) -> SpanContrast:
    """The coCondenser loss over the spans of all ranks (arXiv 2108.05540, eq. 2).

    Args:
        spans: this rank's span vectors (spans, size); numbers may differ between ranks.
        document_ids: (spans,) integers, unique to a document over all ranks; siblings are found by them.
        temperature: dot products are divided by it.

    Raises:
        InputError: a document id does not stand on exactly two spans of the global batch.
    """
    sizes, rank = _gather_sizes(len(spans), spans.device)
    scaled = spans.to(torch.promote_types(spans.dtype, torch.float32)) / temperature**0.5
    everyone = _gather_rows(scaled.detach(), sizes)
    siblings = sibling_index(_gather_rows(document_ids, sizes))
    with torch.autocast(spans.device.type, enabled=False):
        loss, accuracy = _SpanContrast.apply(scaled, everyone, siblings, sizes, rank)
    return SpanContrast(loss, accuracy, negatives=len(everyone) - 2)
