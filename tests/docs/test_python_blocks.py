"""Every Python block on the pages compiles; its names exist, and so do the arguments that it passes to our functions."""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import PAGES, ROOT, blocks

EXTRAS = {"mteb"}  # packages that a page may import and a test environment may lack
WITH_PYTHON = [page for page in PAGES if any(block.language == "python" for block in blocks(page))]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_and_arguments(page: Path):
    known: dict[str, Any] = {}  # a page's blocks go on from each other
    for block in blocks(page):
        if block.language == "python":
            tree = ast.parse(block.text, filename=block.name)
            for problem in problems(tree, known):
                pytest.fail(f"{block.name}: {problem}")


def problems(tree: ast.Module, known: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a block; what it imports and defines is added to `known`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            try:
                exec(compile(ast.Module([node], []), "import", "exec"), known)
            except ModuleNotFoundError as error:
                if error.name not in EXTRAS:
                    raise
                known |= {alias.asname or alias.name.split(".")[0]: None for alias in node.names}
    defined = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    defined |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    defined |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    known |= {name: None for name in defined if name not in known}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in known and not hasattr(builtins, node.id):
            yield f"nothing defines '{node.id}'"
        if isinstance(node, ast.Attribute):
            _resolve(node, known)
        if isinstance(node, ast.Call):
            function = _resolve(node.func, known)
            if callable(function) and getattr(function, "__module__", "").startswith("hf_cocondenser"):
                yield from _arguments(node, function)


def _resolve(node: ast.expr, known: dict[str, Any]) -> Any:
    """The object that a dotted name stands for, where it is imported; None where only running would tell."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _resolve(node.value, known)
        if inspect.ismodule(owner) or inspect.isclass(owner):
            return getattr(owner, node.attr)
    return None


def _arguments(call: ast.Call, function: Any) -> Iterator[str]:
    keywords = {keyword.arg: None for keyword in call.keywords if keyword.arg}
    positional = [None for argument in call.args if not isinstance(argument, ast.Starred)]
    try:
        inspect.signature(function).bind_partial(*positional, **keywords)
    except TypeError as error:
        yield f"{ast.unparse(call)}: {error}"


def test_what_would_be_found():
    code = "from hf_cocondenser import publish\npublish(misspelt=1)\nunknown(2)"
    found = list(problems(ast.parse(code), {}))
    assert len(found) == 2 and "misspelt" in found[0] and "'unknown'" in found[1]
