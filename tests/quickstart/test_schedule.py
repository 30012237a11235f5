"""The schedule ends a training when its time, or its number of steps, is up."""

from __future__ import annotations

import time
from typing import ClassVar

import pytest
import torch
from torch.utils.data import Dataset
from transformers import ProgressCallback, Trainer, TrainerCallback, TrainingArguments

from hf_cocondenser.quickstart.schedule import ENDLESS, FINAL_RATE, TimedSchedule


class Line(torch.nn.Module):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(1))
        self.seconds = seconds

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        time.sleep(self.seconds)
        return {"loss": (self.slope * x - x).square().mean()}


class Numbers(Dataset):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, float]:
        return {"x": 1.0 + index}


def train(schedule: TimedSchedule, folder: str, step_seconds: float, *callbacks: TrainerCallback) -> None:
    args = TrainingArguments(
        folder, max_steps=ENDLESS, per_device_train_batch_size=8, use_cpu=True, report_to="none", save_strategy="no"
    )
    trainer = Trainer(Line(step_seconds), args, train_dataset=Numbers(), callbacks=[schedule, *callbacks])
    trainer.remove_callback(ProgressCallback)
    trainer.train()


def test_time_ends_the_training_and_moves_the_rate(tmp_path) -> None:
    schedule = TimedSchedule("training", seconds=2.0)
    train(schedule, str(tmp_path), 0.02)
    assert 2.0 <= schedule.used < 4.0
    assert 10 < schedule.steps <= 100
    rates = [line["learning_rate"] for line in schedule.log if "learning_rate" in line]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.5 * rates[0] < 2.5e-5


def test_the_first_step_moves_the_weights(tmp_path) -> None:
    class Rates(TrainerCallback):
        rates: ClassVar[list[float]] = []

        def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs) -> None:
            self.rates.append(optimizer.param_groups[0]["lr"])

    schedule = TimedSchedule("training", seconds=600.0, steps=15)
    train(schedule, str(tmp_path), 0.0, Rates())
    assert Rates.rates == pytest.approx([5e-5 * schedule.rate(step) for step in range(15)], rel=0.01)
    assert Rates.rates[0] > 0


def test_steps_end_it_earlier(tmp_path) -> None:
    schedule = TimedSchedule("training", seconds=600.0, steps=15)
    train(schedule, str(tmp_path), 0.0)
    assert schedule.steps == 15
    assert schedule.rate(0) == pytest.approx(1 / 6, abs=0.01)
    assert schedule.rate(15) == FINAL_RATE
    assert max(schedule.rate(step) for step in range(15)) > 0.9
