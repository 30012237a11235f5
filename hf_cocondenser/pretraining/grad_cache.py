"""Gradient cache: the exact gradient of a loss over a large batch, in the memory of a small one (arXiv 2101.06983).

1. Encode every chunk without a graph.
2. Compute the loss on those vectors, and its gradient with respect to them: the cache.
3. Run each chunk again, now with a graph and the same random numbers, and back-propagate
   <cached gradient, vectors>, with whatever else the chunk's forward pass gives as a loss of its own.

Nothing here knows the model, the loss or the Trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

Chunk = TypeVar("Chunk")
LossOfVectors = Callable[[Tensor], Tensor]


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw random numbers (dropout) from `seed` inside the block; the generators outside do not notice."""
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=devices, device_type=device.type if devices else "cuda"):
        torch.manual_seed(seed)
        yield


def draw_seeds(count: int) -> list[int]:
    """One seed a chunk from the global generator, so that a resumed run draws the same."""
    return torch.randint(2**62, (count,)).tolist()


class GradCache:
    """Takes one training step over chunks, with or without the cache; both give the same gradient.

    Args:
        encode: chunk -> vectors (spans, size). Called without a graph; leave out everything the vectors do not need,
            but draw random numbers in the order `forward` does.
        forward: chunk -> vectors (spans, size) with their graph, and the chunk's own loss or `None`.
        backward: what back-propagates a scalar (`accelerator.backward` scales for fp16).
        no_sync: a context in which gradients are not exchanged between processes; entered for every chunk but the
            last, so they are exchanged once a step.
        device: where the chunks live.

    Example:
        >>> encoder = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5))
        >>> cache = GradCache(encoder, lambda chunk: (encoder(chunk), None))
        >>> chunks = torch.randn(6, 4).split(2)
        >>> loss = cache.step(chunks, lambda vectors: (vectors @ vectors.T).logsumexp(1).mean())
        >>> encoder[0].weight.grad.shape
        torch.Size([8, 4])
    """

    def __init__(
        self,
        encode: Callable[[Any], Tensor],
        forward: Callable[[Any], tuple[Tensor, Tensor | None]],
        backward: Callable[[Tensor], Any] = torch.Tensor.backward,
        no_sync: Callable[[], AbstractContextManager[Any]] = nullcontext,
        device: torch.device | str = "cpu",
    ) -> None:
        self.encode = encode
        self.forward = forward
        self.backward = backward
        self.no_sync = no_sync
        self.device = torch.device(device)

    def step(self, chunks: Sequence[Chunk], loss_of_vectors: LossOfVectors) -> Tensor:
        """Add the gradient of loss_of_vectors(all vectors) + sum of the chunks' own losses to the parameters.

        Returns:
            The loss of the vectors, detached.
        """
        seeds = draw_seeds(len(chunks))
        vectors = self.encode_without_graph(chunks, seeds)
        loss, gradients = self.cache_gradients(vectors, loss_of_vectors)
        self.replay(chunks, seeds, gradients)
        return loss

    def encode_without_graph(self, chunks: Sequence[Chunk], seeds: Sequence[int]) -> list[Tensor]:
        """Step 1: the vectors of each chunk, in float32 (float64) and without a graph."""
        vectors = []
        with torch.no_grad():
            for chunk, seed in zip(chunks, seeds, strict=True):
                with seeded(seed, self.device):
                    # copied: vectors are often a view of all hidden states of their chunk, and would keep these alive
                    vectors.append(_in_full_precision(self.encode(chunk)).clone())
        return vectors

    def cache_gradients(self, vectors: list[Tensor], loss_of_vectors: LossOfVectors) -> tuple[Tensor, list[Tensor]]:
        """Step 2: the loss on the vectors and its gradient with respect to each chunk's."""
        leaf = torch.cat(vectors).requires_grad_()
        with torch.enable_grad():
            loss = loss_of_vectors(leaf)
        (gradient,) = torch.autograd.grad(loss, leaf)
        return loss.detach(), list(gradient.split([len(chunk) for chunk in vectors]))

    def replay(self, chunks: Sequence[Chunk], seeds: Sequence[int], gradients: Sequence[Tensor | None]) -> None:
        """Step 3: back-propagate chunk by chunk; the forward pass too stands inside `no_sync`, as DDP wants.

        A gradient of `None` leaves the vectors out: chunks with losses of their own alone need no cache.
        """
        for number, (chunk, seed, gradient) in enumerate(zip(chunks, seeds, gradients, strict=True), start=1):
            with nullcontext() if number == len(chunks) else self.no_sync():
                with seeded(seed, self.device):
                    vectors, own_loss = self.forward(chunk)
                losses = [] if own_loss is None else [own_loss]
                if gradient is not None:
                    losses.append((_in_full_precision(vectors) * gradient).sum())
                self.backward(torch.stack(losses).sum())

    def uncached_step(self, chunks: Sequence[Chunk], loss_of_vectors: LossOfVectors) -> Tensor:
        """The same step holding all graphs at once and back-propagating once: faster, if it fits."""
        vectors, own_losses = self.forward_all(chunks, draw_seeds(len(chunks)))
        loss = loss_of_vectors(vectors)
        self.backward(torch.stack([loss, *own_losses]).sum())
        return loss.detach()

    def forward_all(self, chunks: Sequence[Chunk], seeds: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """The vectors of all chunks and the chunks' own losses, with one graph (without, where gradients are off)."""
        vectors, own_losses = [], []
        for chunk, seed in zip(chunks, seeds, strict=True):
            with seeded(seed, self.device):
                chunk_vectors, own_loss = self.forward(chunk)
            chunk_vectors = _in_full_precision(chunk_vectors)
            vectors.append(chunk_vectors if torch.is_grad_enabled() else chunk_vectors.clone())
            if own_loss is not None:
                own_losses.append(own_loss)
        return torch.cat(vectors), own_losses


def _in_full_precision(vectors: Tensor) -> Tensor:
    return vectors.to(torch.promote_types(vectors.dtype, torch.float32))
