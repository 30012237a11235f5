"""The step that ours is measured against: what the published equations ask for, written in the plainest way.

Eager attention, every span padded to the maximal length, vocabulary logits at every position, chunks of a fixed
number of spans, and a first pass of the gradient cache that runs the whole model, MLM head included.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_cocondenser import CondenserForPreTraining
from hf_cocondenser.backbones import mix
from hf_cocondenser.pretraining.grad_cache import draw_seeds, seeded

Batch = dict[str, Tensor]


def full_forward(model: CondenserForPreTraining, batch: Batch) -> tuple[Tensor, Tensor]:
    """CLS vectors and the summed MLM losses, through logits (spans, length, vocabulary) twice."""
    output = model.condenser.backbone(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True
    )
    early, late = output.hidden_states[model.config.skip_from], output.last_hidden_state
    head = model.head(inputs_embeds=mix(early, late), attention_mask=batch["attention_mask"]).last_hidden_state
    loss = torch.zeros((), device=late.device)
    for hidden in (head, late):
        logits = model.mlm_logits(hidden)
        loss = loss + F.cross_entropy(
            logits.flatten(0, 1).float(), batch["labels"].flatten(), ignore_index=-100, reduction="sum"
        )
    return late[:, 0], loss


def contrast(vectors: Tensor, temperature: float) -> Tensor:
    """The dense span contrastive loss; siblings are adjacent rows."""
    scores = vectors @ vectors.T / temperature
    scores.fill_diagonal_(-torch.inf)
    return F.cross_entropy(scores, torch.arange(len(vectors), device=vectors.device) ^ 1)


def reference_step(model: CondenserForPreTraining, batch: Batch, temperature: float, chunk_spans: int = 16) -> Tensor:
    """One gradient-cached step over a padded batch; adds to the parameters' gradients, returns the contrastive loss."""
    chunks = [
        dict(zip(batch, parts, strict=True))
        for parts in zip(*(v.split(chunk_spans) for v in batch.values()), strict=True)
    ]
    masked, device = (batch["labels"] != -100).sum(), batch["input_ids"].device
    seeds = draw_seeds(len(chunks))
    vectors = []
    with torch.no_grad():
        for chunk, seed in zip(chunks, seeds, strict=True):
            with seeded(seed, device):
                vectors.append(full_forward(model, chunk)[0])
    leaf = torch.cat(vectors).requires_grad_()
    loss = contrast(leaf, temperature)
    (gradient,) = torch.autograd.grad(loss, leaf)
    for chunk, seed, part in zip(chunks, seeds, gradient.split(chunk_spans), strict=True):
        with seeded(seed, device):
            chunk_vectors, mlm = full_forward(model, chunk)
        (mlm / masked + (chunk_vectors * part).sum()).backward()
    return loss.detach()


def pad_to(batch: Batch, length: int, pad_id: int) -> Batch:
    """The same batch with every row padded to `length`."""
    extra = length - batch["input_ids"].shape[1]
    fill = {"input_ids": pad_id, "attention_mask": 0, "labels": -100}
    return {k: F.pad(v, (0, extra), value=fill[k]) if k in fill else v for k, v in batch.items()}
