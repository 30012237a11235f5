"""`CondenserTrainer`: both pre-training stages, Condenser (arXiv 2104.08253) and coCondenser (arXiv 2108.05540)."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput, TrainOutput
from transformers.utils import logging

from hf_cocondenser.errors import InputError
from hf_cocondenser.hub.records import PRETRAINING
from hf_cocondenser.losses import gather_rows, span_contrastive_loss
from hf_cocondenser.modeling_condenser import CondenserForPreTraining, CondenserOutput
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments
from hf_cocondenser.pretraining.callbacks import LogBeforeSaving, SetEpoch
from hf_cocondenser.pretraining.checks import condenser_of, default_collator, require_condenser, require_trainable
from hf_cocondenser.pretraining.chunks import Batch, cut_batch, length_order
from hf_cocondenser.pretraining.grad_cache import GradCache, draw_seeds
from hf_cocondenser.pretraining.loss_parts import LossParts
from hf_cocondenser.pretraining.record import record_of, run_record, scale_like, write_run_card
from hf_cocondenser.utils.distributed import leave_process_group
from hf_cocondenser.utils.files import write_json
from hf_cocondenser.utils.memory import release_free_memory
from hf_cocondenser.utils.trainer_checkpoints import RecordCheckpoints, require_whole

logger = logging.get_logger(__name__)

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


class CondenserTrainer(Trainer):
    """Pre-trains a `CondenserForPreTraining` on a `SpanDataset`; everything of transformers' `Trainer` works.

    A step is the gradient of  L_mlm [+ L_co]  over the GLOBAL batch: masked-token means and the softmax over spans
    run over all processes, so neither cutting a batch into chunks nor spreading it over processes changes it.
    With gradient accumulation the masked-token means run over all accumulated batches; each contrasts its own spans.

    Logged beside the loss: each part of it, the share of spans whose sibling comes first, negatives per span, real
    tokens per second, and the share of padding. `compute_metrics` gets the span vectors as `predictions` and their
    document ids as `label_ids`.

    **A loss term of your own** counts once in training and evaluation, however a batch is cut into chunks or spread
    over processes, with and without the gradient cache. Override

    - `chunk_loss` for a term on single spans, from a chunk's batch and the model's output for it;
    - `batch_loss` for a term on the vectors of all spans of the global batch;
    - `compute_loss` for everything else: `super().compute_loss(...)` gives the loss, and with `return_outputs=True` the
      vectors of this process's spans, both with their gradient. It costs a second pass through the heads.

    Args:
        model: what is trained, or `None` where `model_init` makes it.
        args: training arguments; `CondenserTrainingArguments()` by default.
        data_collator: makes a batch of items; a `CondenserCollator` of `processing_class` by default.
        train_dataset: a `SpanDataset`, or any data set whose items the collator takes (a `Subset`, a
            `datasets.Dataset`, ...).
        eval_dataset: the same for evaluation, or a dictionary of them.
        processing_class: the tokenizer, saved with every checkpoint.
        **kwargs: transformers' own (`model_init`, `compute_metrics`, `callbacks`, `optimizers`, ...).

    Raises:
        InputError: an argument cannot be used; nothing is found out only in the first step.

    Example:
        >>> from hf_cocondenser import CondenserTrainer
        >>> class SmallVectors(CondenserTrainer):
        ...     def chunk_loss(self, batch, output):
        ...         return 0.01 * output.cls.pow(2).mean(1)  # one number for each span
    """

    args: CondenserTrainingArguments

    def __init__(
        self,
        model: CondenserForPreTraining | None = None,
        args: CondenserTrainingArguments | None = None,
        data_collator: Callable[[list[Any]], Batch] | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        **kwargs: Any,
    ) -> None:
        args = CondenserTrainingArguments() if args is None else args
        require_trainable(args, train_dataset, eval_dataset, kwargs)
        if model is not None:
            require_condenser(model)
        if data_collator is None:
            data_collator = default_collator(processing_class, train_dataset, eval_dataset)
        super().__init__(model, args, data_collator, train_dataset, eval_dataset, processing_class, **kwargs)
        require_condenser(self.model)
        earlier = record_of(start) if (start := condenser_of(self.model).config.name_or_path) else None
        scale_like(earlier, args)
        self.record_details: dict[str, Any] = {"earlier_stage": earlier}
        self.add_callback(RecordCheckpoints())
        self.add_callback(SetEpoch())
        self.add_callback(LogBeforeSaving())
        if args.stage == "cocondenser" and args.gradient_accumulation_steps > 1:
            logger.warning(
                f"gradient_accumulation_steps={args.gradient_accumulation_steps} averages that many independent "
                "contrastive batches and adds no negatives; raise per_device_train_batch_size with grad_cache instead."
            )
        if args.torch_compile and args.grad_cache:
            # Compiled dropout draws other numbers with and without a graph, unless it uses eager's generator.
            import torch._inductor.config

            torch._inductor.config.fallback_random = True
        # torch's new name for it syncs the buffers once, but older releases do not know it
        warnings.filterwarnings("ignore", message=".*`broadcast_buffers` is deprecated", category=FutureWarning)
        self._parts = LossParts(args.device)
        self._eval_parts = LossParts(args.device)
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

    def _load_best_model(self) -> None:
        """Trainer's own goes on with the last step's weights where the best ones are gone."""
        require_whole(self.state.best_model_checkpoint)
        super()._load_best_model()

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

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """Trainer's `train`; afterwards the model knows what it was trained for and on, which exports tell."""
        if self.args.stage == "cocondenser":
            condenser_of(self.model).config.similarity = "cosine" if self.args.normalize else "dot"
        output = super().train(*args, **kwargs)
        condenser_of(self.model).pretraining_record = run_record(self, self.record_details)
        return output

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Trainer's `save_model`, with a record of the run beside the weights, which model cards are made from."""
        super().save_model(output_dir, _internal_call)
        if self.args.should_save:
            write_json(Path(output_dir or self.args.output_dir) / PRETRAINING, run_record(self, self.record_details))

    def create_model_card(
        self,
        language: str | Sequence[str] | None = None,
        license: str | None = None,
        tags: Any = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: Any = None,
        dataset_tags: Any = None,
        dataset: str | Sequence[str] | None = None,
        dataset_args: Any = None,
    ) -> None:
        """Write a model card to the output folder: base model, data, hyper-parameters and losses of this run.

        Args:
            language: ISO codes.
            license: as the Hub names it.
            tags, tasks, dataset_tags, dataset_args: not used; the card has the package's own.
            model_name: heading; the output folder's name by default.
            finetuned_from: the base model, where it is another than the model was loaded from.
            dataset: Hub names of the training data.
        """
        if self.is_world_process_zero():
            write_run_card(self, language, license, model_name or self.args.hub_model_id, finetuned_from, dataset)

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

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Trainer's loader over whole batches, so that every figure is over the same number of negatives.

        Raises:
            InputError: there are fewer held-out documents than a global batch holds.
        """
        loader = super().get_eval_dataloader(eval_dataset)
        if hasattr(loader.dataset, "__len__") and len(loader) == 0:
            raise InputError(
                f"There are {len(loader.dataset)} held-out documents, fewer than one global evaluation batch of "
                f"{self.args.per_device_eval_batch_size * self.args.world_size}: lower per_device_eval_batch_size."
            )
        return loader

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Trainer's loop, with the parts of the loss among its metrics."""
        self._eval_parts = LossParts(self.args.device)
        output = super().evaluation_loop(*args, **kwargs)
        seen = self._eval_parts.batches * self.args.eval_batch_size * self.args.world_size
        prefix = kwargs.get("metric_key_prefix", "eval")
        output.metrics.update({f"{prefix}_{k}": v for k, v in self._eval_parts.read().items()})
        # the speed is that of the documents that were looked at
        return output._replace(num_samples=min(seen, output.num_samples))

    def hyperparameter_search(
        self, hp_space: Any = None, compute_objective: Callable[[dict[str, float]], float] | None = None, **kwargs: Any
    ) -> Any:
        """Trainer's search; it minimises `eval_loss`, where `compute_objective` says nothing else."""
        return super().hyperparameter_search(
            hp_space, compute_objective or (lambda metrics: metrics["eval_loss"]), **kwargs
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the parts of the loss, and the real tokens trained on so far, to the lines that report training."""
        if ("loss" in logs or "train_loss" in logs) and self._parts.batches:
            parts = self._parts.read()
            logs = logs | parts | {"tokens": self.tokens_seen + parts["tokens"]}
        super().log(logs, start_time)

    @property
    def tokens_seen(self) -> int:
        """Real tokens trained on up to the last log line, over all ranks and before a resume too."""
        return next((entry["tokens"] for entry in reversed(self.state.log_history) if "tokens" in entry), 0)

    def leave_process_group(self) -> None:
        """Call last in every script: let all ranks arrive, let DDP's reducer go, then end the process group."""
        if not dist.is_initialized():
            return
        self.accelerator.wait_for_everyone()
        self.model_wrapped = self.model
        self.accelerator.free_memory()
        leave_process_group()
        self.accelerator.end_training()

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
        return getattr(getattr(self, method), "__func__", None) is not getattr(CondenserTrainer, method)

    def _count_masked(self, batches: list[Batch]) -> Tensor:
        """Masked tokens of some batches, over all processes."""
        counts = [(batch["labels"] != -100).sum().to(self.args.device) for batch in batches]
        return self._global_sum(torch.stack(counts).sum()).clamp(min=1)

    def _global_sum(self, value: Tensor) -> Tensor:
        if self.args.world_size > 1:
            dist.all_reduce(value)
        return value
