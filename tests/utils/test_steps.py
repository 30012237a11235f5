"""Steps are done once, again only when told, and go on where they stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.steps import run_step


def test_a_step_is_done_once(tmp_path: Path):
    calls = []

    def work(folder: Path) -> dict:
        calls.append(folder)
        (folder / "file").write_text("x")
        return {"answer": 1}

    first = run_step(tmp_path / "step", {"a": 1}, work)
    second = run_step(tmp_path / "step", {"a": 1}, work)
    assert first == second and first["result"] == {"answer": 1} and len(calls) == 1
    assert sorted(path.name for path in (tmp_path / "step").iterdir()) == ["file", "manifest.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["step"]


def test_changed_inputs_are_refused_or_done_again(tmp_path: Path):
    run_step(tmp_path / "step", {"depth": 100}, lambda folder: {"n": 1})
    with pytest.raises(InputError, match="depth: 100 before, 200 now"):
        run_step(tmp_path / "step", {"depth": 200}, lambda folder: {"n": 2})
    assert run_step(tmp_path / "step", {"depth": 100}, lambda folder: {"n": 3})["result"] == {"n": 1}
    assert run_step(tmp_path / "step", {"depth": 200}, lambda folder: {"n": 2}, overwrite=True)["result"] == {"n": 2}


def test_a_stopped_step_keeps_its_work_for_the_same_inputs_only(tmp_path: Path):
    def stopped(folder: Path) -> dict:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    def look(folder: Path) -> dict:
        return {"half": (folder / "half").is_file()}

    for inputs, found in (({"a": 1}, True), ({"a": 2}, False)):
        with pytest.raises(KeyboardInterrupt):
            run_step(tmp_path / "step", {"a": 1}, stopped)
        assert not (tmp_path / "step").exists()
        assert run_step(tmp_path / "step", inputs, look)["result"] == {"half": found}
        (tmp_path / "step" / "manifest.json").unlink()
        (tmp_path / "step").rename(tmp_path / f"done{found}")
