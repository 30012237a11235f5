"""`CondenserTrainer`: both pre-training stages, Condenser (arXiv 2104.08253) and coCondenser (arXiv 2108.05540)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.utils.data import DataLoader
from transformers.trainer_utils import EvalLoopOutput, TrainOutput
from transformers.utils import logging

from hf_cocondenser.errors import InputError
from hf_cocondenser.hub.records import PRETRAINING
from hf_cocondenser.modeling_condenser import CondenserForPreTraining
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments
from hf_cocondenser.pretraining.callbacks import LogBeforeSaving, SetEpoch
from hf_cocondenser.pretraining.checks import condenser_of, default_collator, require_condenser, require_trainable
from hf_cocondenser.pretraining.chunks import Batch
from hf_cocondenser.pretraining.loss_parts import LossParts
from hf_cocondenser.pretraining.record import record_of, run_record, scale_like, write_run_card
from hf_cocondenser.pretraining.step import StepTrainer
from hf_cocondenser.utils.distributed import leave_process_group
from hf_cocondenser.utils.files import write_json
from hf_cocondenser.utils.trainer_checkpoints import RecordCheckpoints, require_whole

logger = logging.get_logger(__name__)


class CondenserTrainer(StepTrainer):
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

    def _load_best_model(self) -> None:
        """Trainer's own goes on with the last step's weights where the best ones are gone."""
        require_whole(self.state.best_model_checkpoint)
        super()._load_best_model()

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """Trainer's `train`; afterwards the model knows what it was trained for and on, which exports tell."""
        if self.args.stage == "cocondenser":
            condenser_of(self.model).config.similarity = "cosine" if self.args.normalize else "dot"
        if self.args.eval_strategy != "no":  # before hours of training, not after them
            measured = self.eval_dataset
            for dataset in measured.values() if isinstance(measured, dict) else [measured]:
                self._require_full_batch(dataset)
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

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Trainer's loader over whole batches, so that every figure is over the same number of negatives.

        Raises:
            InputError: there are fewer held-out documents than a global batch holds.
        """
        loader = super().get_eval_dataloader(eval_dataset)
        self._require_full_batch(loader.dataset)
        return loader

    def _require_full_batch(self, dataset: Any) -> None:
        batch = self.args.per_device_eval_batch_size * self.args.world_size
        if hasattr(dataset, "__len__") and len(dataset) < batch:
            raise InputError(
                f"There are {len(dataset)} held-out documents, fewer than one global evaluation batch of {batch}: lower "
                "per_device_eval_batch_size."
            )

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
