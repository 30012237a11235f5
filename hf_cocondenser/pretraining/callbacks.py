"""Callbacks that every pre-training has."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import SaveStrategy


class SetEpoch(TrainerCallback):
    """Tells the data set the epoch: its spans and masks are a function of (seed, epoch, document)."""

    def on_epoch_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any) -> None:
        set_epoch(train_dataloader.dataset, int(state.epoch))


class LogBeforeSaving(TrainerCallback):
    """Has a log line written before every checkpoint, so that a resume goes on with the count of tokens up to there."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Which evaluation is the best, and so saved, is only known after the line.
        may_save = control.should_save or (control.should_evaluate and args.save_strategy == SaveStrategy.BEST)
        control.should_log = control.should_log or may_save

    on_epoch_end = on_step_end


def set_epoch(dataset: Any, epoch: int) -> None:
    """Tell a data set the epoch, and those inside it (`Subset`, `ConcatDataset`); some are the same in every epoch."""
    if callable(tell := getattr(dataset, "set_epoch", None)):
        tell(epoch)
    for inner in inner_datasets(dataset):
        set_epoch(inner, epoch)


def inner_datasets(dataset: Any) -> list[Any]:
    """The data sets that one of torch's wrappers holds."""
    inner = getattr(dataset, "dataset", None)
    return [*([] if inner is None else [inner]), *getattr(dataset, "datasets", [])]
