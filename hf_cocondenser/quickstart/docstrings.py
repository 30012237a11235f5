"""Reads the docstrings of the installed Python packages from their source files: parsed with `ast`, never imported."""

from __future__ import annotations

import ast
import gc
import inspect
import logging
import multiprocessing
import signal
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from hf_cocondenser.quickstart.cleaning import split_docstring

logger = logging.getLogger(__name__)

# Tests, copies of other packages, generated code and whole programs: no documentation of an installed interface.
SKIPPED_FOLDERS = frozenset(
    {"__pycache__", "_internal", "_vendor", "extern", "externals", "generated", "idlelib", "lib2to3", "site-packages"}
    | {"sandbox", "test", "tests", "third_party", "vendor", "vendored", "vendored_packages", "dist-packages"}
)
LARGEST_FILE = 1_500_000  # bytes; beyond it there are only tables
FILES_PER_TASK = 32


@dataclass(frozen=True)
class Docstring:
    """One docstring: where it stands (`module`, `name` inside it), its summary sentence, the paragraphs after it."""

    module: str
    name: str
    summary: str
    paragraphs: tuple[str, ...]

    @property
    def qualified_name(self) -> str:
        """The dotted name a person would look up."""
        package = self.module.partition(".")[0]
        if self.name.startswith(f"{package}."):  # documented from elsewhere, under its public name
            return self.name
        return f"{self.module}.{self.name}" if self.name else self.module


def package_folders() -> list[Path]:
    """Return the folders that hold the standard library and the installed packages."""
    paths = sysconfig.get_paths()
    folders = [paths["stdlib"], paths["purelib"], paths["platlib"]]
    folders += [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    return [folder for folder in dict.fromkeys(Path(path).resolve() for path in folders) if folder.is_dir()]


def read_docstrings(folders: list[Path] | None = None, processes: int = 2) -> list[Docstring]:
    """Return every docstring of a summary and at least one more paragraph, sorted by qualified name.

    Args:
        folders: what `sys.path` would hold; the standard library and site-packages when None.
        processes: how many files are parsed at a time.
    """
    files = [file for folder in folders or package_folders() for file in _source_files(folder)]
    tasks = [files[start : start + FILES_PER_TASK] for start in range(0, len(files), FILES_PER_TASK)]
    found: dict[str, Docstring] = {}
    # The workers run plain Python only; where fork exists it spares them the import of this package's libraries.
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context(method), initializer=_start_process)
    try:
        with tqdm(total=len(files), desc="reading docstrings", unit=" files", mininterval=0.5, disable=None) as bar:
            for task, docstrings in zip(tasks, pool.map(_read_files, tasks), strict=True):
                bar.update(len(task))
                for docstring in docstrings:
                    found.setdefault(docstring.qualified_name, docstring)
    finally:
        pool.shutdown(cancel_futures=True)
    return [found[name] for name in sorted(found)]


def _start_process() -> None:
    gc.disable()  # syntax trees are millions of small objects, freed when a file is done
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


def _source_files(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield (file, dotted module) of the importable source files under `root`."""
    waiting = [root]
    while waiting:
        for path in sorted(waiting.pop().iterdir()):
            if path.is_dir() and path.name.isidentifier() and path.name not in SKIPPED_FOLDERS:
                waiting.append(path)
            elif path.suffix == ".py" and not path.stem.startswith(("test_", "conftest")) and path.is_file():
                parts = path.relative_to(root).with_suffix("").parts
                yield path, ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _read_files(files: list[tuple[Path, str]]) -> list[Docstring]:
    return [docstring for path, module in files for docstring in _read_file(path, module)]


def _read_file(path: Path, module: str) -> list[Docstring]:
    """Return the docstrings of a file; none when it cannot be parsed (templates, other Python versions)."""
    try:
        source = path.read_bytes()
        if len(source) > LARGEST_FILE or (b'"""' not in source and b"'''" not in source):
            return []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escape sequences in other people's files
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found = []
    for name, text in _documented(tree):
        parts = split_docstring(text)
        if parts:
            found.append(Docstring(module, name, parts[0], tuple(parts[1])))
    return found


def _documented(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield (dotted name, docstring) of a module, its classes and functions, and what it documents by a call."""
    waiting: list[tuple[str, ast.AST]] = [("", tree)]
    while waiting:
        prefix, node = waiting.pop()
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            prefix = f"{prefix}.{node.name}" if prefix else node.name
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield prefix, text
        elif isinstance(node, ast.Expr):
            yield from _documented_by_call(node.value)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            waiting += [(prefix, child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


def _documented_by_call(call: ast.expr) -> Iterator[tuple[str, str]]:
    """Yield what torch's `add_docstr(torch.abs, "...")` and NumPy's `add_newdoc("module", "name", "...")` say.

    Functions written in C carry no docstring in a Python file; the best-known ones get theirs this way.
    """
    if not (isinstance(call, ast.Call) and len(call.args) >= 2):
        return
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if function not in ("add_docstr", "add_newdoc"):
        return
    *names, text = call.args
    if isinstance(text, ast.Tuple) and len(text.elts) == 2:  # a method: ("name", "docstring")
        names.append(text.elts[0])
        text = text.elts[1]
    if isinstance(text, ast.Call) and isinstance(text.func, ast.Attribute):  # "docstring".format(...)
        text = text.func.value
    if isinstance(text, ast.Constant) and isinstance(text.value, str):
        parts = [str(name.value) if isinstance(name, ast.Constant) else ast.unparse(name) for name in names]
        yield ".".join(parts), inspect.cleandoc(text.value)
