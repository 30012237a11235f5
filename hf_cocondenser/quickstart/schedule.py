"""A learning-rate schedule by the clock: a training that ends when its time is up, however fast the machine is."""

from __future__ import annotations

import time
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback

WARMUP = 0.1
FINAL_RATE = 0.02  # of the peak
LOGGING_STEPS = 10
ENDLESS = 1_000_000  # steps to give the trainer, which must not stop before the schedule does


class TimedSchedule(TrainerCallback):
    """Warms up and decays the learning rate linearly over `seconds`, then stops the training, saving nothing.

    Where `steps` is given, progress is the larger of the share of the steps and the share of the time. As a context it
    takes its bar off the terminal when the training is cut short, so that nothing is drawn below the last words.

    Args:
        description: stands before the progress bar.
        seconds: from the first step on.
        steps: stop after so many, too.

    Attributes:
        steps: optimizer steps taken, once the training has ended.
        used: seconds it took.
        log: the trainer's log history.
    """

    def __init__(self, description: str, seconds: float, steps: int | None = None) -> None:
        self.description = description
        self.seconds = seconds
        self.most_steps = steps
        self.steps = 0
        self.used = 0.0
        self.log: list[dict[str, float]] = []
        self._started = 0.0
        self._bar: tqdm | None = None

    def __enter__(self) -> TimedSchedule:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def progress(self, step: int) -> float:
        """Return the share of the training that is done after `step` steps."""
        by_time = (time.perf_counter() - self._started) / self.seconds
        return max(by_time, step / self.most_steps if self.most_steps else 0.0)

    def rate(self, step: int) -> float:
        """Return the learning rate's share of its peak."""
        progress = self.progress(step)
        return max(FINAL_RATE, min((progress + 0.2 * WARMUP) / (1.2 * WARMUP), (1 - progress) / (1 - WARMUP)))

    def on_train_begin(
        self, args: Any, state: Any, control: Any, optimizer: Any = None, lr_scheduler: Any = None, **kwargs: Any
    ) -> None:
        """Take over the scheduler's rates and start the clock."""
        self._started = time.perf_counter()
        state.logging_steps = LOGGING_STEPS
        lr_scheduler.lr_lambdas = [self.rate] * len(lr_scheduler.lr_lambdas)
        for group, peak in zip(optimizer.param_groups, lr_scheduler.base_lrs, strict=True):
            group["lr"] = peak * self.rate(0)  # still 0, where the scheduler's own warm-up began
        layout = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        self._bar = tqdm(total=1.0, desc=self.description, bar_format=layout, disable=None)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar; stop when the time is up."""
        progress = self.progress(state.global_step)
        if self._bar is not None:
            self._bar.update(min(progress, 1.0) - self._bar.n)
        control.should_training_stop = progress >= 1

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Show the loss beside the bar."""
        if self._bar is not None and logs and "loss" in logs:
            self._bar.set_postfix_str(f"step {state.global_step}, loss {float(logs['loss']):.3f}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record what was done."""
        self.steps, self.used = state.global_step, time.perf_counter() - self._started
        self.log = list(state.log_history)
