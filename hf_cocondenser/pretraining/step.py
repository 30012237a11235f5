"""One step of pre-training: the loss of the global batch, whatever chunks and processes it is cut into."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Trainer

from hf_cocondenser.errors import InputError
from hf_cocondenser.losses import gather_rows, span_contrastive_loss
from hf_cocondenser.modeling_condenser import CondenserForPreTraining, CondenserOutput
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments
from hf_cocondenser.pretraining.checks import condenser_of
from hf_cocondenser.pretraining.chunks import Batch, cut_batch, length_order
from hf_cocondenser.pretraining.grad_cache import GradCache, draw_seeds
from hf_cocondenser.pretraining.loss_parts import LossParts
from hf_cocondenser.utils.memory import release_free_memory

_MLM_LOSSES = ("head_mlm_loss", "late_mlm_loss")
RELEASE_EVERY = 16  # chunks; more often costs time, since what is given back must be asked for again


@dataclass
class _Work:
    """A batch in chunks, what its sums are divided by, and what is logged of it."""

    chunks: list[Batch]
    masked: Tensor  # of a batch of the whole update, over all processes
    spans: Tensor  # of this batch, over all processes
    parts: LossParts
    taken: int = 0  # chunks that went through the model


class StepTrainer(Trainer):
    """The step of `CondenserTrainer`, and the hooks for a loss term of one's own; see there."""

    args: CondenserTrainingArguments

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._parts = LossParts(self.args.device)
        self._eval_parts = LossParts(self.args.device)
        self._replays: list[Callable[[], None]] = []

    def chunk_loss(self, batch: Batch, output: CondenserOutput) -> Tensor | None:
        """Override for a term of your own on single spans; its mean over the spans of the global batch is added.

        Args:
            batch: a chunk of the collator's batch: `input_ids`, `attention_mask`, `labels` (spans, length),
                `document_ids` (spans,), and whatever else the collator made.
            output: the model's, `cls` (spans, hidden) among it.

        Returns:
            One number for each span, (spans,), or `None` for no term.
        """
        return None

    def batch_loss(self, vectors: Tensor, document_ids: Tensor) -> Tensor | None:
        """Override for a term of your own on the vectors of the whole batch; it is added to the loss.

        Args:
            vectors: the CLS vectors of all spans of all processes in float32, (spans, hidden). The gradient flows into
                this process's own rows, which is all it needs: every process computes the same term.
            document_ids: the document of each span, (spans,).

        Returns:
            A scalar, or `None` for no term.
        """
        return None

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch: this process's part of it, so that the mean over processes is that of the global batch.

        Args:
            model: the model, wrapped as for training.
            inputs: this process's batch.
            return_outputs: also give a `CondenserOutput` with `loss` and `cls`, the vectors of this batch's spans.
            num_items_in_batch: masked tokens of all batches of this update, over all processes; those of this batch by
                default.

        Returns:
            The loss, or the loss and the output. A gradient that flows into either reaches the model in
            `training_step`, through the gradient cache where `args.grad_cache` is set.
        """
        work = self._cut(inputs, num_items_in_batch, self._parts if model.training else self._eval_parts)
        seeds = draw_seeds(len(work.chunks)) if model.training else [0] * len(work.chunks)  # no dropout
        is_cached = torch.is_grad_enabled() and self.args.grad_cache
        cache = GradCache(self._encode, lambda chunk: self._forward(model, work, chunk), device=self.args.device)
        with torch.no_grad() if is_cached else nullcontext():
            vectors, own_losses = cache.forward_all(work.chunks, seeds)
        own_loss = torch.stack(own_losses).sum()
        if is_cached:
            vectors.requires_grad_()
            own_loss.requires_grad_()
            self._replays.append(lambda: self._replay(model, work, seeds, vectors, own_loss))
        loss = own_loss + self._loss_of_vectors(work, vectors)
        if not return_outputs:
            return loss
        in_order = vectors[length_order(inputs).argsort()]
        return loss, CondenserOutput(loss=loss, cls=in_order)

    def training_step(self, model: nn.Module, inputs: Batch, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """Forward and backward over one batch; returns its loss, divided by the accumulation steps as Trainer wants."""
        model.train()
        if callable(begin := getattr(self.optimizer, "train", None)):  # schedule-free optimizers
            begin()
        inputs = self._prepare_inputs(inputs)
        if self.args.grad_cache and not self._overrides("compute_loss"):
            return self._cached_step(model, inputs, num_items_in_batch)
        self._replays.clear()
        with self.compute_loss_context_manager():
            loss = self.compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)
        loss = loss / self.current_gradient_accumulation_steps
        self.accelerator.backward(loss)
        for replay in self._replays:
            replay()
        return loss.detach()

    def prediction_step(
        self, model: nn.Module, inputs: Batch, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The loss of one batch of held-out spans; with `compute_metrics` also their vectors and document ids."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            if prediction_loss_only:
                return self.compute_loss(model, inputs).detach(), None, None
            loss, output = self.compute_loss(model, inputs, return_outputs=True)
        return loss.detach(), output["cls"].detach(), inputs["document_ids"]

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], Tensor | None]:
        """The batches of one update, and their masked tokens over all processes."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        return batches, self._count_masked(batches) if batches else None

    def _cached_step(self, model: nn.Module, inputs: Batch, num_items_in_batch: Tensor | int | None) -> Tensor:
        """The gradient of `compute_loss` by the gradient cache; the vectors are encoded first, without the heads."""
        work = self._cut(inputs, num_items_in_batch, self._parts)
        steps = self.current_gradient_accumulation_steps
        own_loss = torch.zeros((), device=self.args.device)

        def forward(chunk: Batch) -> tuple[Tensor, Tensor]:
            vectors, loss = self._forward(model, work, chunk)
            own_loss.add_(loss.detach())
            return vectors, loss / steps

        cache = GradCache(
            self._encode, forward, self.accelerator.backward, lambda: self.accelerator.no_sync(model), self.args.device
        )
        if self.args.stage == "condenser" and not self._overrides("batch_loss"):
            cache.replay(work.chunks, draw_seeds(len(work.chunks)), [None] * len(work.chunks))
            return own_loss / steps
        loss = cache.step(work.chunks, lambda vectors: self._loss_of_vectors(work, vectors) / steps)
        return own_loss / steps + loss

    def _replay(self, model: nn.Module, work: _Work, seeds: list[int], vectors: Tensor, own_loss: Tensor) -> None:
        """Carry the gradients that reached a batch's vectors and own loss on to the model, chunk by chunk."""
        if vectors.grad is None and own_loss.grad is None:
            return  # a `compute_loss` that has nothing of ours in it
        scale = 0.0 if own_loss.grad is None else own_loss.grad

        def forward(chunk: Batch) -> tuple[Tensor, Tensor]:
            vectors, loss = self._forward(model, work, chunk, is_replay=True)
            return vectors, loss * scale

        # the gradients that came here are scaled for fp16 already
        cache = GradCache(
            self._encode, forward, no_sync=lambda: self.accelerator.no_sync(model), device=self.args.device
        )
        sizes = [len(chunk["attention_mask"]) for chunk in work.chunks]
        gradients = [None] * len(sizes) if vectors.grad is None else vectors.grad.split(sizes)
        cache.replay(work.chunks, seeds, gradients)

    def _cut(self, inputs: Batch, num_items_in_batch: Tensor | int | None, parts: LossParts) -> _Work:
        """Cut a batch into chunks, and count it."""
        if num_items_in_batch is None:
            masked = self._count_masked([inputs])
        else:
            masked = torch.as_tensor(num_items_in_batch) / self.current_gradient_accumulation_steps
        assert self.args.chunk_tokens is not None  # the arguments set it for the device
        chunks = cut_batch(inputs, self.args.chunk_tokens)
        tokens = inputs["attention_mask"].sum()
        slots = sum(chunk["attention_mask"].numel() for chunk in chunks)
        parts.add(tokens=tokens, slots=slots, batches=1 / self.args.world_size)
        parts.batches += 1
        spans = self._global_sum(torch.tensor(len(inputs["attention_mask"]), device=self.args.device))
        return _Work(chunks, masked, spans, parts)

    def _encode(self, chunk: Batch) -> Tensor:
        """Span vectors by the encoder alone: no Condenser head, no vocabulary, no traffic between ranks."""
        known = inspect.signature(self.model.get_backbone().forward).parameters
        inputs = {name: value for name, value in chunk.items() if name in known and name != "labels"}
        with self.accelerator.autocast(), self._last_blocks(chunk):
            return self.model.condenser(**inputs).last_hidden_state[:, 0]

    def _forward(
        self, model: nn.Module, work: _Work, chunk: Batch, *, is_replay: bool = False
    ) -> tuple[Tensor, Tensor]:
        """A chunk's vectors, and its part of the loss times the number of processes, since DDP averages over them."""
        work.taken += 1
        if self.args.device.type == "cpu" and work.taken % RELEASE_EVERY == 0:
            release_free_memory()
        inputs = {name: value for name, value in chunk.items() if name != "document_ids"}
        with self._last_blocks(chunk):
            output = model(**inputs, num_items_in_batch=work.masked)
        loss = output.loss
        # a ModelOutput has no item for what is None
        parts = {name: value for name in _MLM_LOSSES if (value := getattr(output, name)) is not None}
        if (own := self.chunk_loss(chunk, output)) is not None:
            if own.shape != output.cls.shape[:1]:
                raise InputError(
                    f"chunk_loss gave a tensor of shape {tuple(own.shape)}; it must give one number for each of the "
                    f"{len(output.cls)} spans."
                )
            parts["chunk_loss"] = own.sum() / work.spans
            loss = loss + parts["chunk_loss"]
        if not is_replay:
            work.parts.add(**{name: value.detach() for name, value in parts.items()})
        return output.cls, loss * self.args.world_size

    def _loss_of_vectors(self, work: _Work, vectors: Tensor) -> Tensor:
        """What a batch's vectors are trained on, (spans, hidden) in the order of the chunks; equal in all processes."""
        if self.args.device.type == "cpu":
            release_free_memory()
        world = self.args.world_size
        document_ids = torch.cat([chunk["document_ids"] for chunk in work.chunks])
        loss = torch.zeros((), device=vectors.device)
        if self.args.stage == "cocondenser":
            scaled = F.normalize(vectors, dim=1) if self.args.normalize else vectors
            contrast = span_contrastive_loss(scaled, document_ids, self.args.temperature or 1.0)
            loss = contrast.loss
            # equal in all processes, and added up over them
            figures = {"contrastive_loss": contrast.loss.detach(), "contrastive_accuracy": contrast.accuracy}
            work.parts.add(**{name: value / world for name, value in figures.items()})
            work.parts.negatives = contrast.negatives
        if self._overrides("batch_loss"):
            own = self.batch_loss(gather_rows(vectors), gather_rows(document_ids))
            if own is not None:
                work.parts.add(batch_loss=own.detach() / world)
                loss = loss + own
        # its own value with the gradient for DDP's average over processes
        return loss * world - loss.detach() * (world - 1)

    def _last_blocks(self, chunk: Batch) -> AbstractContextManager[None]:
        """Leave out what the package's own losses do not read, where nobody else may read it."""
        base = condenser_of(self.model)
        is_ours = type(base) is CondenserForPreTraining and not any(
            map(self._overrides, ("chunk_loss", "compute_loss"))
        )
        is_checkpointing = any(getattr(module, "gradient_checkpointing", False) for module in base.modules())
        if not is_ours or is_checkpointing or self.args.torch_compile:
            return nullcontext()
        return base.last_blocks_at(chunk["labels"])

    def _overrides(self, method: str) -> bool:
        return getattr(getattr(self, method), "__func__", None) is not getattr(StepTrainer, method)

    def _count_masked(self, batches: list[Batch]) -> Tensor:
        """Masked tokens of some batches, over all processes."""
        counts = [(batch["labels"] != -100).sum().to(self.args.device) for batch in batches]
        return self._global_sum(torch.stack(counts).sum()).clamp(min=1)

    def _global_sum(self, value: Tensor) -> Tensor:
        if self.args.world_size > 1:
            dist.all_reduce(value)
        return value
