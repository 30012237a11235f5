"""Steps are done once, again only when told, and go on where they stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils import steps
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


def stopped(folder: Path) -> dict:
    (folder / "half").write_text("half")
    raise KeyboardInterrupt


def test_a_step_whose_inputs_were_refused_is_begun_with_others(tmp_path: Path):
    def refuse(folder: Path) -> dict:
        raise InputError("line 3 is no pair")

    with pytest.raises(InputError, match="line 3"):
        run_step(tmp_path / "step", {"pairs": "wrong"}, refuse)
    assert run_step(tmp_path / "step", {"pairs": "mended"}, lambda folder: {"n": 1})["result"] == {"n": 1}


def test_a_stopped_step_is_gone_on_with_by_the_same_inputs_only(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        run_step(tmp_path / "step", {"a": 1}, stopped)
    with pytest.raises(InputError, match="half done with other inputs \\(a: 1 before, 2 now\\)"):
        run_step(tmp_path / "step", {"a": 2}, stopped)
    assert (tmp_path / "step.partial" / "half").is_file()
    assert run_step(tmp_path / "step", {"a": 1}, lambda folder: {"half": (folder / "half").is_file()})["result"] == {
        "half": True
    }


def test_a_half_done_step_of_other_inputs_goes_where_overwriting_is_asked_for(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        run_step(tmp_path / "step", {"a": 1}, stopped)
    done = run_step(tmp_path / "step", {"a": 2}, lambda folder: {"files": len([*folder.iterdir()])}, overwrite=True)
    assert done["result"] == {"files": 1}  # the inputs


@pytest.mark.parametrize("last", ["training", "inputs.json", "step"])
def test_a_kill_in_the_last_moment_keeps_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str):
    """The checkpoints go when the manifest is there: until then a killed training needs them."""

    def train(folder: Path) -> dict:
        (folder / "training" / "checkpoint-1").mkdir(parents=True)
        (folder / "weights").write_text("best")
        return {"step": 1}

    def killed(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if last == "training":
            patched.setattr(steps.shutil, "rmtree", killed)
        elif last == "inputs.json":
            unlink = Path.unlink
            patched.setattr(Path, "unlink", lambda p, **how: killed() if p.name == last else unlink(p, **how))
        else:
            patched.setattr(steps, "replace_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            run_step(tmp_path / "step", {"a": 1}, train)
    assert run_step(tmp_path / "step", {"a": 1}, killed)["result"] == {"step": 1}
    assert sorted(path.name for path in (tmp_path / "step").iterdir()) == ["manifest.json", "weights"]
    assert [path.name for path in tmp_path.iterdir()] == ["step"]


@pytest.mark.parametrize("harm", ["flip", "delete", "cut", "manifest"])
def test_a_damaged_step_is_not_taken_for_done(tmp_path: Path, harm: str):
    def work(folder: Path) -> dict:
        (folder / "weights").write_bytes(b"weights" * 100)
        return {}

    run_step(tmp_path / "step", {"a": 1}, work)
    path = tmp_path / "step" / "weights"
    whole = path.read_bytes()
    if harm == "flip":
        path.write_bytes(whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    elif harm == "delete":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(whole[:100])
    else:
        (tmp_path / "step" / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match=r"is damaged.*overwrite"):
        run_step(tmp_path / "step", {"a": 1}, work)
    run_step(tmp_path / "step", {"a": 1}, work, overwrite=True)
    assert path.read_bytes() == whole
