"""The package as a whole: its public names, and how its modules import each other."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import hf_cocondenser

ROOT = Path(hf_cocondenser.__file__).parent


def test_every_public_name_is_there():
    assert sorted(hf_cocondenser.__all__) == sorted(set(hf_cocondenser.__all__))
    for name in hf_cocondenser.__all__:
        assert getattr(hf_cocondenser, name).__doc__


def test_no_module_imports_itself_by_way_of_others():
    """Imports inside functions count, those for annotations alone do not."""
    modules = {path: _name(path) for path in ROOT.rglob("*.py")}
    known = set(modules.values())
    graph = {name: _imported(path, known) - {name} for path, name in modules.items()}
    assert len(graph) > 100 and sum(map(len, graph.values())) > 300
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path, known: set[str]) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_annotations = {
        node
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and ast.unparse(test.test) == "TYPE_CHECKING"
        for node in ast.walk(test)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in for_annotations:
            folder = ".".join(path.relative_to(ROOT.parent).parts[: -node.level]) if node.level else ""
            source = ".".join(part for part in (folder, node.module) if part)
            for name in node.names:
                inner = f"{source}.{name.name}"
                found.add(inner if inner in known else source)
    return found & known
