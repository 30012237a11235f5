"""Writes what `hf-cocondenser COMMAND --help` shows: `python -m hf_cocondenser.cli.write_help`."""

from __future__ import annotations

import importlib

from hf_cocondenser.cli.command import make_parser
from hf_cocondenser.cli.usage import COMMANDS, HELP_TEXTS, versions


def render_help(name: str) -> str:
    """The help of a command, as its parser writes it."""
    return make_parser(name, importlib.import_module(f"hf_cocondenser.cli.{name}").COMMAND).format_help()


def main() -> None:
    """Write the help of every command, and the versions that it holds for."""
    HELP_TEXTS.mkdir(exist_ok=True)
    for name in COMMANDS:
        (HELP_TEXTS / f"{name}.txt").write_text(render_help(name), encoding="utf-8")
    (HELP_TEXTS / "versions.txt").write_text(versions(), encoding="utf-8")


if __name__ == "__main__":
    main()
