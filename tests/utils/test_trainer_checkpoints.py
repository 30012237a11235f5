"""A checkpoint is gone on from where all of it is there and as it was written; else an older one is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.trainer_checkpoints import RecordCheckpoints, damage, last_checkpoint, require_whole


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": self.layer(x).square().mean()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=3, save_steps=1, use_cpu=True, report_to="none", disable_tqdm=True
    )
    data = [{"x": torch.randn(64)} for _ in range(30)]
    Trainer(Line(), arguments, train_dataset=data, callbacks=[RecordCheckpoints()]).train()
    return folder


NEEDED = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "model.safetensors", "trainer_state.json")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


HARMS = {
    "deleted": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "flipped": flip,
    "garbage": lambda path: path.write_bytes(b"\x00garbage" * 50),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("name", NEEDED)
def test_a_damaged_checkpoint_is_passed_over_and_removed(trained: Path, tmp_path: Path, caplog, name: str, harm: str):
    shutil.copytree(trained, tmp_path / "run")
    HARMS[harm](tmp_path / "run" / "checkpoint-3" / name)
    assert last_checkpoint(tmp_path / "run") == str(tmp_path / "run" / "checkpoint-2")
    assert "cannot be gone on from" in caplog.text
    assert not (tmp_path / "run" / "checkpoint-3").exists() and (tmp_path / "run" / "checkpoint-1").exists()


@pytest.mark.parametrize("name", NEEDED)
def test_a_checkpoint_of_an_earlier_version_is_looked_at_too(trained: Path, tmp_path: Path, name: str):
    """It has no record of its files."""
    shutil.copytree(trained / "checkpoint-3", tmp_path / "checkpoint-3")
    (tmp_path / "checkpoint-3" / "files.json").unlink()
    assert damage(tmp_path / "checkpoint-3") is None
    (tmp_path / "checkpoint-3" / name).unlink()
    assert damage(tmp_path / "checkpoint-3")


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"global_step": "3", "log_history": []}'])
def test_a_state_of_the_wrong_shape(trained: Path, tmp_path: Path, text: str):
    shutil.copytree(trained / "checkpoint-3", tmp_path / "checkpoint-3")
    (tmp_path / "checkpoint-3" / "trainer_state.json").write_text(text)
    assert last_checkpoint(tmp_path) is None


def test_the_best_checkpoint_must_be_whole_too(trained: Path, tmp_path: Path):
    shutil.copytree(trained, tmp_path / "run")
    for number in (2, 3):
        folder = tmp_path / "run" / f"checkpoint-{number}"
        state = json.loads((folder / "trainer_state.json").read_text())
        (folder / "trainer_state.json").write_text(
            json.dumps(state | {"best_model_checkpoint": "elsewhere/checkpoint-2"})
        )
        (folder / "files.json").unlink()
    (tmp_path / "run" / "checkpoint-2" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"best checkpoint .*checkpoint-2' cannot be loaded"):
        require_whole(tmp_path / "run" / "checkpoint-2")
    assert last_checkpoint(tmp_path / "run", with_best=True) == str(tmp_path / "run" / "checkpoint-1")


def test_weights_alone_are_kept(trained: Path, tmp_path: Path):
    """What `--save-only-model` wrote is no checkpoint to go on from, and not damaged."""
    shutil.copytree(trained / "checkpoint-3", tmp_path / "checkpoint-3")
    record = json.loads((tmp_path / "checkpoint-3" / "files.json").read_text()) | {"resumable": False}
    (tmp_path / "checkpoint-3" / "files.json").write_text(json.dumps(record))
    assert last_checkpoint(tmp_path) is None and (tmp_path / "checkpoint-3").is_dir()
