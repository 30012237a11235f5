"""The command `hf-cocondenser`: help and version at once, everything else when the libraries are loaded.

It stands beside the package, since importing anything inside of it imports torch, which takes seconds: long enough to be
waited for, and to be stopped by Ctrl-C.
"""

from __future__ import annotations

import runpy
import sys
from importlib.util import find_spec
from pathlib import Path


def main() -> int:
    """Run a command; returns the exit status (0, 2 for bad input, 130 for Ctrl-C)."""
    try:
        package = find_spec("hf_cocondenser")  # finds it without importing it
        assert package is not None and package.origin is not None
        usage = runpy.run_path(str(Path(package.origin).with_name("cli") / "usage.py"))
        status = usage["answer"](sys.argv[1:])
        if status is not None:
            return int(status)
        usage["announce"](sys.argv[1:])
        from hf_cocondenser.cli.main import main as run

        return run()
    except KeyboardInterrupt:  # while libraries are loaded; a running command says that it stops
        return 130
