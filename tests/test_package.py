"""The package as a whole: its public names, and how its modules import each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import hf_cocondenser

ROOT = Path(hf_cocondenser.__file__).parent
# From the bottom up; rooms of one line may import each other. "" is the top level, which travels with checkpoints.
ROOMS = [
    {"errors"},
    {"configuration_condenser", "modeling_condenser", "backbones", "losses", "shipped"},
    {"utils"},
    {"data"},
    {"retrieval"},
    {"evaluation", "finetuning", "hub", "pretraining"},
    {"quickstart", "research"},
    {"cli"},
]
TRAVELS = {
    "__init__",
    "__main__",
    "backbones",
    "configuration_condenser",
    "errors",
    "losses",
    "modeling_condenser",
    "shipped",
}


def test_every_public_name_is_there():
    assert sorted(hf_cocondenser.__all__) == sorted(set(hf_cocondenser.__all__))
    for name in hf_cocondenser.__all__:
        assert getattr(hf_cocondenser, name).__doc__


@pytest.mark.slow
def test_names_and_dotted_paths_are_found_by_a_fresh_process():
    """Without an import of their own, in any order; and a name that is not there is an AttributeError."""
    names = [module for module in map(_name, sorted(ROOT.rglob("*.py"))) if not module.endswith("__main__")]
    code = f"""
import sys
import hf_cocondenser
assert "hf_cocondenser.finetuning" not in sys.modules  # importing the package stays light
assert set(hf_cocondenser.__all__) <= set(dir(hf_cocondenser))
for name in {names!r}:
    eval(name)
for wrong in ("nothing", "retrieval.nothing", "finetuning.negatives.nothing"):
    try:
        eval("hf_cocondenser." + wrong)
    except AttributeError as error:
        assert "has no attribute 'nothing'" in str(error)
    else:
        raise AssertionError(wrong)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_top_level_is_what_travels_with_a_checkpoint():
    assert {path.stem for path in ROOT.glob("*.py")} == TRAVELS


def test_no_module_imports_itself_by_way_of_others():
    """Imports inside functions count, and those for annotations alone."""
    graph = imports()
    del graph["hf_cocondenser"]  # names the public classes of all rooms, and imports them when they are asked for
    assert len(graph) > 100 and sum(map(len, graph.values())) > 300
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_imports_run_downwards():
    order = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}
    upwards = [
        f"{module} imports {other}"
        for module, others in imports().items()
        for other in others
        if module not in ("hf_cocondenser", "hf_cocondenser.__main__") and order[room(other)] > order[room(module)]
    ]
    assert not upwards


def test_research_is_a_room_of_its_own():
    users = {
        module
        for module, others in imports().items()
        if room(module) != "research" and any(room(other) == "research" for other in others)
    }
    assert users <= {"hf_cocondenser", "hf_cocondenser.cli.scorers", "hf_cocondenser.cli.study"}


def room(module: str) -> str:
    """The folder below the package, or the module at its top level."""
    return [*module.split("."), "errors"][1]


def imports() -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports."""
    modules = {path: _name(path) for path in ROOT.rglob("*.py")}
    known = set(modules.values())
    return {name: _imported(path, known) - {name} for path, name in modules.items()}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path, known: set[str]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            folder = ".".join(path.relative_to(ROOT.parent).parts[: -node.level]) if node.level else ""
            source = ".".join(part for part in (folder, node.module) if part)
            for name in node.names:
                inner = f"{source}.{name.name}"
                found.add(inner if inner in known else source)
    return found & known
