"""Which of a Trainer's checkpoints a stopped run can go on from."""

from __future__ import annotations

from pathlib import Path

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.files import read_json


def last_checkpoint(folder: Path) -> str | None:
    """The last whole checkpoint in a Trainer's output folder, if there is one.

    One that a kill or a full disk cut short is passed over; training writes it again when it gets there.
    """
    whole: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        number = path.name.rsplit("-", 1)[1]
        if not number.isdecimal():
            continue
        try:
            read_json(path / "trainer_state.json")  # written last
        except InputError:
            continue
        whole[int(number)] = path
    return str(whole[max(whole)]) if whole else None
