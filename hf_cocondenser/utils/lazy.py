"""Modules that are imported when they are first asked for by a dotted name."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any


def submodules(package: str) -> Callable[[str], Any]:
    """A package's `__getattr__`: `package.module` is found without an import of its own.

    Example:
        __getattr__ = submodules(__name__)
    """

    def find(name: str) -> Any:
        full = f"{package}.{name}"
        if name.startswith("__") or importlib.util.find_spec(full) is None:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return importlib.import_module(full)

    return find
