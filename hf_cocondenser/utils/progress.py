"""Bars on a terminal, lines in a log: what shows the progress of something long."""

from __future__ import annotations

import logging
import sys
from typing import Any

from transformers import ProgressCallback, Trainer, TrainerCallback

logger = logging.getLogger(__name__)


def on_terminal() -> bool:
    """Whether bars can be drawn: in a file or a pipe they are hundreds of lines with carriage returns."""
    return sys.stderr.isatty()


def fit_to_output(trainer: Trainer) -> None:
    """Where there is no terminal, let a trainer log a line instead of drawing its bars."""
    if not on_terminal():
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(_Lines())


class _Lines(TrainerCallback):
    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Log what the first process measured."""
        if logs and state.is_world_process_zero:
            values = [f"{name} {value:.4g}" for name, value in logs.items() if isinstance(value, int | float)]
            logger.info("step %d of %d: %s", state.global_step, state.max_steps, ", ".join(values))
