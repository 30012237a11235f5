"""`CondenserTrainer`: both pre-training stages, Condenser (arXiv 2104.08253) and coCondenser (arXiv 2108.05540)."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import EvalLoopOutput, SaveStrategy
from transformers.utils import logging

from hf_cocondenser.errors import InputError
from hf_cocondenser.losses import SpanContrast, span_contrastive_loss
from hf_cocondenser.modeling_condenser import CondenserForPreTraining
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments
from hf_cocondenser.pretraining.grad_cache import GradCache, draw_seeds
from hf_cocondenser.utils.distributed import leave_process_group
from hf_cocondenser.utils.memory import release_free_memory
from hf_cocondenser.utils.trainer_checkpoints import RecordCheckpoints, require_whole

logger = logging.get_logger(__name__)

Batch = dict[str, Tensor]

RELEASE_EVERY = 16  # chunks; more often costs time, since what is given back must be asked for again


def cut_batch(batch: Batch, chunk_tokens: int) -> list[Batch]:
    """Sort a padded batch by length, longest first, and cut it into chunks of at most `chunk_tokens` with padding.

    The losses do not depend on the order of spans, so this changes the padding and nothing else. A span longer than
    the budget is a chunk of its own. Every tensor of `batch` has the spans first; those with a second dimension are
    trimmed to the chunk's longest span.
    """
    lengths = batch["attention_mask"].sum(1)
    order = lengths.argsort(descending=True, stable=True)
    sorted_lengths = lengths[order].tolist()
    chunks, start = [], 0
    while start < len(order):
        longest = sorted_lengths[start]
        rows = order[start : start + max(1, chunk_tokens // longest)]
        chunks.append({k: v[rows, :longest].contiguous() if v.dim() > 1 else v[rows] for k, v in batch.items()})
        start += len(rows)
    return chunks


class _SetEpoch(TrainerCallback):
    """Tells the data set the epoch: its spans and masks are a function of (seed, epoch, document)."""

    def on_epoch_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any) -> None:
        train_dataloader.dataset.set_epoch(int(state.epoch))


class _LogBeforeSaving(TrainerCallback):
    """Has a log line written before every checkpoint, so that a resume goes on with the count of tokens up to there."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Which evaluation is the best, and so saved, is only known after the line.
        may_save = control.should_save or (control.should_evaluate and args.save_strategy == SaveStrategy.BEST)
        control.should_log = control.should_log or may_save

    on_epoch_end = on_step_end


class _Parts:
    """Running sums of what is logged; added up over the ranks when read."""

    NAMES = (
        "head_mlm_loss",
        "late_mlm_loss",
        "contrastive_loss",
        "contrastive_accuracy",
        "tokens",
        "slots",
        "batches",
    )

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(len(self.NAMES), dtype=torch.float64, device=device)
        self.found: set[str] = set()
        self.negatives = self.batches = 0
        self.started = time.perf_counter()

    def add(self, **values: Tensor | float) -> None:
        """Add this rank's share of some sums."""
        self.found.update(values)
        for name, value in values.items():
            self.sums[self.NAMES.index(name)] += value

    def read(self) -> dict[str, float]:
        """Averages over batches of the global losses that were added, rates, and a fresh start."""
        if dist.is_initialized():
            dist.all_reduce(self.sums)
        sums = dict(zip(self.NAMES, self.sums.tolist(), strict=True))
        seconds = time.perf_counter() - self.started
        parts = {name: sums[name] / sums["batches"] for name in self.NAMES[:4] if name in self.found}
        if "contrastive_loss" in self.found:
            parts["negatives_per_span"] = self.negatives
        parts["tokens"] = round(sums["tokens"])
        parts["tokens_per_second"] = sums["tokens"] / seconds
        parts["padding_share"] = 1 - sums["tokens"] / sums["slots"]
        self.sums.zero_()
        self.batches = 0
        self.started = time.perf_counter()
        return parts


class CondenserTrainer(Trainer):
    """Pre-trains a `CondenserForPreTraining` on a `SpanDataset` with a `CondenserCollator`.

    A step is the gradient of  L_mlm [+ L_co]  over the GLOBAL batch: masked-token means and the softmax over spans
    run over all ranks, so neither cutting a batch into chunks nor spreading it over ranks changes it. Logged beside
    the loss: each part of it, the share of spans whose sibling comes first, negatives per span, real tokens per
    second, and the share of padding.

    Raises:
        InputError: `nn.DataParallel` would be used, there are fewer documents than a batch holds, or a document would
            come twice in one.
    """

    args: CondenserTrainingArguments

    def __init__(self, model: CondenserForPreTraining, args: CondenserTrainingArguments, **kwargs: Any) -> None:
        if args.n_gpu > 1:
            raise InputError(
                f"{args.n_gpu} GPUs in one process would use nn.DataParallel, which hides negatives; "
                "start with 'torchrun --nproc-per-node NUMBER' or set CUDA_VISIBLE_DEVICES to one."
            )
        documents = kwargs.get("train_dataset")
        batch = args.per_device_train_batch_size * args.world_size
        if documents is not None and args.dataloader_drop_last and len(documents) < batch:
            raise InputError(
                f"The spans hold {len(documents)} training items, fewer than one global batch of {batch}: "
                "lower the batch size or add documents."
            )
        if args.stage == "cocondenser" and batch < 2:
            raise InputError(
                "A batch of one document has no negatives: raise per_device_train_batch_size to 2 or more."
            )
        if args.stage == "cocondenser" and args.world_size > 1 and not args.dataloader_drop_last:
            raise InputError(
                "Without dataloader_drop_last several processes fill the last batch up with documents that it has "
                "already, which would be their own negatives; leave dataloader_drop_last on."
            )
        super().__init__(model, args, **kwargs)
        self.add_callback(RecordCheckpoints())
        self.add_callback(_SetEpoch())
        self.add_callback(_LogBeforeSaving())
        if args.stage == "cocondenser" and args.gradient_accumulation_steps > 1:
            logger.warning(
                f"gradient_accumulation_steps={args.gradient_accumulation_steps} averages that many independent "
                "contrastive batches and adds no negatives; raise per_device_train_batch_size with grad_cache instead."
            )
        if args.torch_compile and args.grad_cache:
            # Compiled dropout draws other numbers with and without a graph, unless it uses eager's generator.
            import torch._inductor.config

            torch._inductor.config.fallback_random = True
        self._parts = _Parts(args.device)
        self._eval_parts = _Parts(args.device)

    def _load_best_model(self) -> None:
        """Trainer's own goes on with the last step's weights where the best ones are gone."""
        require_whole(self.state.best_model_checkpoint)
        super()._load_best_model()

    def training_step(self, model: nn.Module, inputs: Batch, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """Forward and backward over one batch; returns its loss, divided by the accumulation steps as Trainer wants."""
        model.train()
        inputs = self._prepare_inputs(inputs)
        masked = self._global_sum((inputs["labels"] != -100).sum()).clamp(min=1)
        chunks = self._cut(inputs)
        world, steps = self.args.world_size, self.current_gradient_accumulation_steps
        own_loss = torch.zeros((), device=self.args.device)
        on_cpu, taken = self.args.device.type == "cpu", 0

        def forward(chunk: Batch) -> tuple[Tensor, Tensor]:
            nonlocal taken
            taken += 1
            if on_cpu and taken % RELEASE_EVERY == 0:
                release_free_memory()
            with self._last_blocks(chunk):
                output = model(chunk["input_ids"], chunk["attention_mask"], chunk["labels"], num_items_in_batch=masked)
            own_loss.add_(output.loss.detach())
            self._add_mlm(self._parts, output)
            # DDP averages over ranks what is a share of a global sum
            return output.cls, output.loss * (world / steps)

        cache = GradCache(
            self._encode, forward, self.accelerator.backward, lambda: self.accelerator.no_sync(model), self.args.device
        )
        self._count(self._parts, chunks)
        if self.args.stage == "condenser":
            cache.replay(chunks, draw_seeds(len(chunks)), [None] * len(chunks))
            return own_loss * world / steps
        contrast: SpanContrast | None = None

        def loss_of_vectors(vectors: Tensor) -> Tensor:
            nonlocal contrast
            if on_cpu:
                release_free_memory()
            contrast = self._contrast(vectors, chunks)
            return contrast.loss * (world / steps)

        step = cache.step if self.args.grad_cache else cache.uncached_step
        step(chunks, loss_of_vectors)
        assert contrast is not None
        self._add_contrast(self._parts, contrast)
        return (own_loss * world + contrast.loss.detach()) / steps

    def prediction_step(
        self, model: nn.Module, inputs: Batch, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[Tensor, None, None]:
        """The loss of one batch of held-out spans; its parts are added to the evaluation's."""
        inputs = self._prepare_inputs(inputs)
        masked = self._global_sum((inputs["labels"] != -100).sum()).clamp(min=1)
        chunks = self._cut(inputs)
        self._count(self._eval_parts, chunks)
        loss, vectors = torch.zeros((), device=self.args.device), []
        with torch.no_grad():
            for chunk in chunks:
                output = model(chunk["input_ids"], chunk["attention_mask"], chunk["labels"], num_items_in_batch=masked)
                loss += output.loss
                self._add_mlm(self._eval_parts, output)
                vectors.append(output.cls.float())
            loss = self._global_sum(loss)
            if self.args.stage == "cocondenser":
                contrast = self._contrast(torch.cat(vectors), chunks)
                self._add_contrast(self._eval_parts, contrast)
                loss = loss + contrast.loss
        return loss, None, None

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Trainer's loader over whole batches, so that every figure is over the same number of negatives.

        Raises:
            InputError: there are fewer held-out documents than a global batch holds.
        """
        loader = super().get_eval_dataloader(eval_dataset)
        if len(loader) == 0:
            raise InputError(
                f"There are {len(loader.dataset)} held-out documents, fewer than one global evaluation batch of "
                f"{self.args.per_device_eval_batch_size * self.args.world_size}: lower per_device_eval_batch_size."
            )
        return loader

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Trainer's loop, with the parts of the loss among its metrics."""
        self._eval_parts = _Parts(self.args.device)
        output = super().evaluation_loop(*args, **kwargs)
        prefix = kwargs.get("metric_key_prefix", "eval")
        output.metrics.update({f"{prefix}_{k}": v for k, v in self._eval_parts.read().items()})
        return output

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

    def _encode(self, chunk: Batch) -> Tensor:
        """Span vectors by the encoder alone: no Condenser head, no vocabulary, no traffic between ranks."""
        with self.accelerator.autocast(), self._last_blocks(chunk):
            return self.model.condenser(chunk["input_ids"], chunk["attention_mask"]).last_hidden_state[:, 0]

    def _last_blocks(self, chunk: Batch) -> AbstractContextManager[None]:
        if self.args.torch_compile or self.model.is_gradient_checkpointing:
            return nullcontext()
        return self.model.last_blocks_at(chunk["labels"])

    def _cut(self, batch: Batch) -> list[Batch]:
        assert self.args.chunk_tokens is not None  # the arguments set it for the device
        return cut_batch(batch, self.args.chunk_tokens)

    def _contrast(self, vectors: Tensor, chunks: list[Batch]) -> SpanContrast:
        document_ids = torch.cat([chunk["document_ids"] for chunk in chunks])
        if self.args.normalize:
            vectors = F.normalize(vectors, dim=1)
        temperature = 1.0 if self.args.temperature is None else self.args.temperature
        return span_contrastive_loss(vectors, document_ids, temperature)

    def _global_sum(self, value: Tensor) -> Tensor:
        if self.args.world_size > 1:
            dist.all_reduce(value)
        return value

    def _count(self, parts: _Parts, chunks: list[Batch]) -> None:
        tokens = torch.stack([chunk["attention_mask"].sum() for chunk in chunks]).sum()
        slots = sum(chunk["attention_mask"].numel() for chunk in chunks)
        parts.add(tokens=tokens, slots=slots, batches=1 / self.args.world_size)
        parts.batches += 1

    def _add_mlm(self, parts: _Parts, output: Any) -> None:
        for name in ("head_mlm_loss", "late_mlm_loss"):
            value = getattr(output, name)  # a ModelOutput has no item for what is None
            if value is not None:
                parts.add(**{name: value.detach()})

    def _add_contrast(self, parts: _Parts, contrast: SpanContrast) -> None:
        world = self.args.world_size  # equal on every rank, and added up over them
        parts.add(contrastive_loss=contrast.loss.detach() / world, contrastive_accuracy=contrast.accuracy / world)
        parts.negatives = contrast.negatives
