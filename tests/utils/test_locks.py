"""One process at a time in a folder; folders are replaced whole or not at all, and killed processes leave nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils import files, locks
from hf_cocondenser.utils.files import output_folder, read_json, write_text
from hf_cocondenser.utils.locks import folder_lock

HOLD = """
import sys, time
from hf_cocondenser.utils.locks import folder_lock
with folder_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(folder: Path, seconds: float) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_another_process_is_named(tmp_path: Path):
    other = hold(tmp_path / "out", 60)
    try:
        with (
            pytest.raises(InputError, match=rf"another process \({other.pid}\) works in this folder"),
            folder_lock(tmp_path / "out"),
        ):
            pass
    finally:
        other.kill()
        other.wait()
    with folder_lock(tmp_path / "out"), folder_lock(tmp_path / "out"):  # of a dead process; blocks may be nested
        assert [path.name for path in tmp_path.iterdir()] == [".out.lock"]
    assert list(tmp_path.iterdir()) == []


def test_waiting_for_the_other_process(tmp_path: Path):
    other = hold(tmp_path / "out", 1)
    started = time.monotonic()
    with folder_lock(tmp_path / "out", wait=True):
        assert time.monotonic() - started > 0.3
    assert other.wait() == 0


def test_a_forked_child_does_not_hold_the_lock(tmp_path: Path):
    """Workers may outlive a killed process."""
    with folder_lock(tmp_path / "out"):
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
    try:
        hold(tmp_path / "out", 0).wait()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_leftovers_of_killed_processes_go(tmp_path: Path):
    for name in (".out.partial-12", ".out.replaced-13", ".other.partial-14"):
        (tmp_path / name).mkdir()
    with output_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.partial-14", "out"]
    (tmp_path / "out" / ".file.partial-4194305").write_text("half")  # above the highest number of a process
    write_text(tmp_path / "out" / "file", "newer")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["file"]


@pytest.mark.parametrize("renames", [0, 1])
def test_a_kill_while_a_folder_is_replaced_keeps_the_old_one(tmp_path: Path, monkeypatch, renames: int):
    def write(text: str) -> None:
        with output_folder(tmp_path / "out", overwrite=True) as folder:
            (folder / "file").write_text(text)

    write("old")
    done, rename = [], Path.rename
    with monkeypatch.context() as patched:

        def killed(self: Path, target: Path) -> Path:
            if len(done) == renames:
                raise KeyboardInterrupt
            done.append(self)
            return rename(self, target)

        patched.setattr(Path, "rename", killed)
        patched.setattr(files.shutil, "rmtree", lambda *a, **k: None)  # nobody cleans up after a kill
        with pytest.raises(KeyboardInterrupt):
            write("new")
    locks.restore_replaced(tmp_path / "out", locked=True)  # this process is alive
    assert (tmp_path / "out" / "file").read_text() == "old"
    write("newest")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_another_process_has_just_written_is_not_replaced(tmp_path: Path):
    with pytest.raises(InputError, match="already exists"), output_folder(tmp_path / "out"):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "theirs").write_text("x")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["theirs"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "must hold an object with inputs, seconds"),
        ("null", "must hold an object"),
        ("{}", "must hold an object 'inputs'"),
        ('{"inputs": {}, "seconds": "3"}', "must hold a number 'seconds'"),
        ('{"inputs": {}, "seconds": true}', "must hold a number 'seconds'"),
        ("[" * 100_000, "is not valid JSON"),
        ('{"inputs": {}, "seconds": 1' + "0" * 5000 + "}", "is not valid JSON"),
        ('{"inputs"', "is not valid JSON"),
    ],
)
def test_json_of_the_wrong_shape(tmp_path: Path, text: str, said: str):
    (tmp_path / "file.json").write_text(text)
    with pytest.raises(InputError, match=said):
        read_json(tmp_path / "file.json", {"inputs": dict, "seconds": (int, float)})
    (tmp_path / "file.json").write_text(json.dumps({"inputs": {}, "seconds": 1.5}))
    assert read_json(tmp_path / "file.json", {"inputs": dict, "seconds": (int, float)})["seconds"] == 1.5
