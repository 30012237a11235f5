"""sentence-transformers' trainer over a `TrainingSet`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.util.distributed import get_world_size
from torch.utils.data import BatchSampler, DataLoader
from transformers import TrainerCallback
from transformers.utils import logging

from hf_cocondenser.finetuning.pairs.stream import PairBatches
from hf_cocondenser.finetuning.training_set import EpochSampler, TrainingCollator, TrainingSet
from hf_cocondenser.utils.files import write_text
from hf_cocondenser.utils.trainer_checkpoints import RecordCheckpoints, require_whole

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments

    from hf_cocondenser.finetuning.dev import DevEvaluator
    from hf_cocondenser.finetuning.loss import MaskedContrastiveLoss


class LoggedTrainer(SentenceTransformerTrainer):
    """Logs the loss's metrics (`accuracy`, `masked`, `negatives`) beside the loss, averaged over steps and processes."""

    def __init__(
        self,
        model: SentenceTransformer,
        args: SentenceTransformerTrainingArguments,
        loss: MaskedContrastiveLoss,
        evaluator: DevEvaluator | None = None,
        optimizer: tuple[type[torch.optim.Optimizer], dict[str, Any]] | None = None,
        collator: Any = None,
    ) -> None:
        super().__init__(
            model=model,
            args=args,
            data_collator=collator,
            loss=loss,
            evaluator=evaluator,
            optimizer_cls_and_kwargs=optimizer,
        )
        self._sums: dict[str, torch.Tensor] = {}
        self._steps = 0
        self.add_callback(RecordCheckpoints())
        self.add_callback(_TrainLog(Path(args.output_dir) / "log.jsonl"))

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """sentence-transformers' own, keeping the loss's metrics for the log."""
        result = super().compute_loss(model, inputs, *args, **kwargs)
        for name, value in self.loss.metrics.items():
            self._sums[name] = self._sums.get(name, 0) + value
        self._steps += 1
        return result

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:
        """sentence-transformers' own fails on a model without a pooler, because loading adds one."""
        verbosity = logging.get_verbosity()
        logging.set_verbosity_error()  # it would report the pooler's weights as missing
        loaded = type(self.model)(checkpoint_path, device="cpu", model_kwargs={"dtype": torch.float32}).state_dict()
        logging.set_verbosity(verbosity)
        self.model.load_state_dict({name: loaded[name] for name in self.model.state_dict()})

    def _load_best_model(self) -> None:
        """sentence-transformers' own goes on with the last step's weights where the best ones cannot be loaded."""
        require_whole(self.state.best_model_checkpoint)
        self._load_from_checkpoint(self.state.best_model_checkpoint)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the metrics since the last log to a line about training."""
        if "loss" in logs and self._steps:
            means = torch.stack([*self._sums.values()]) / self._steps
            if get_world_size() > 1:
                torch.distributed.all_reduce(means)
                means /= get_world_size()
            logs = {**logs, **{n: round(v, 4) for n, v in zip(self._sums, means.tolist(), strict=True)}}
            self._sums, self._steps = {}, 0
        super().log(logs, start_time)


class RetrieverTrainer(LoggedTrainer):
    """Trains on a `TrainingSet`: order and draws depend on (seed, epoch) alone, so a resumed run is the same run."""

    def __init__(
        self,
        model: SentenceTransformer,
        args: SentenceTransformerTrainingArguments,
        training_set: TrainingSet,
        collator: TrainingCollator,
        loss: MaskedContrastiveLoss,
        evaluator: DevEvaluator | None = None,
        optimizer: tuple[type[torch.optim.Optimizer], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(model, args, loss, evaluator, optimizer, collator)
        self.training_set = training_set
        self.sampler = EpochSampler(len(training_set), args.seed)
        self.add_callback(SetEpoch(self.sampler, self.training_set))

    def get_train_dataloader(self) -> DataLoader:
        """Batches of the training set, shared out over the processes."""
        batches = BatchSampler(self.sampler, self.args.train_batch_size, self.args.dataloader_drop_last)
        loader = DataLoader(
            self.training_set,
            batch_sampler=batches,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        self.accelerator.even_batches = False
        self._train_dataloader = self.accelerator.prepare(loader)
        return self._train_dataloader


class PairTrainer(LoggedTrainer):
    """Trains on a stream of batches, each process on its own part; `batches.start` says where a resumed run goes on."""

    def __init__(
        self,
        model: SentenceTransformer,
        args: SentenceTransformerTrainingArguments,
        batches: PairBatches,
        loss: MaskedContrastiveLoss,
        evaluator: DevEvaluator | None = None,
        optimizer: tuple[type[torch.optim.Optimizer], dict[str, Any]] | None = None,
    ) -> None:
        args.ignore_data_skip = True
        super().__init__(model, args, loss, evaluator, optimizer)
        self.batches = batches

    def get_train_dataloader(self) -> DataLoader:
        """The stream as it is: it knows its process, so accelerate has nothing to share out."""
        # A loader draws a seed when it starts: from a generator of its own, lest a resumed run's dropout be another.
        return DataLoader(self.batches, batch_size=None, collate_fn=_unchanged, generator=torch.Generator())


def _unchanged(batch: Any) -> Any:
    return batch


class SetEpoch(TrainerCallback):
    """Tells a sampler and a data set the epoch, which they never hear of from accelerate under DDP."""

    def __init__(self, *parts: EpochSampler | TrainingSet) -> None:
        self.parts = parts

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for part in self.parts:
            part.set_epoch(int(state.epoch))


class _TrainLog(TrainerCallback):
    """The trainer's history as JSON lines; written whole, so that after a resume no line stands twice."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            write_text(self.path, "".join(json.dumps(line) + "\n" for line in state.log_history))
