"""What the command line says of itself. It imports nothing of the package, so that asking for it takes no time.

The help of each command is a text in `help_texts/`, which `python -m hf_cocondenser.cli.write_help` writes. It holds for the
versions of the libraries that it was written with; with others, the command itself is asked.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

COMMANDS = {
    "quickstart": "the whole road on the documentation of the installed Python packages",
    "prepare": "cut documents into tokenised spans for pre-training",
    "pretrain": "Condenser or coCondenser pre-training",
    "convert": "read a checkpoint of the original Condenser or coCondenser code",
    "export": "write the plain, headless retriever of a checkpoint",
    "finetune": "train a retriever on judged queries, with hard negatives",
    "adapt": "make a retriever for documents that nobody has judged",
    "search": "encode a corpus and answer queries",
    "evaluate": "measure a retriever on BEIR-format data, beside BM25",
    "scorers": "compare one vector with ColBERT, COIL, ... on the same backbone and data",
    "study": "GTR's questions of scale, data and generalisation, as tables and plots",
    "compare": "measure run files and test their differences",
    "publish": "upload a retriever to the Hugging Face Hub",
}


HELP_TEXTS = Path(__file__).with_name("help_texts")
_FLAGS = re.compile(r"^  (-.*?)(?:   |$)", re.MULTILINE)


def answer(arguments: Sequence[str]) -> int | None:
    """Answer what needs no command: help, the version, or that there is no such command or option.

    Returns:
        The exit status; None where a command is named, and is to be run.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(_usage() + "\n")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        sys.stdout.write(f"hf-cocondenser {version('hf-cocondenser')}\n")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        sys.stderr.write(f"hf-cocondenser: error: there is no command '{name}'{_meant(name, COMMANDS)}\n{_usage()}\n")
        return 2
    if (text := help_text(name)) is None:
        return None
    if {"-h", "--help"} & {*rest} and "--recipe" not in rest:  # a recipe has defaults of its own
        sys.stdout.write(text)
        return 0
    flags = [flag for line in _FLAGS.findall(text) for flag in re.findall(r"--[\w-]+", line)]
    for token in rest:
        flag = token.split("=")[0].replace("_", "-")
        if flag.startswith("--") and flag not in flags and f"--{flag[5:]}" not in flags and flag != "--":
            problem = f"there is no option '{flag}'{_meant(flag, flags)}"
            sys.stderr.write(f"hf-cocondenser {name}: error: {problem} (see hf-cocondenser {name} --help).\n")
            return 2
    return None


def announce(arguments: Sequence[str]) -> None:
    """Say what a command is about to do, while the libraries are loaded."""
    sys.stderr.write(f"hf-cocondenser {arguments[0]}: {COMMANDS[arguments[0]]}\n")


def help_text(name: str) -> str | None:
    """The help of a command; None where it was written for other versions of the libraries, or not at all."""
    file = HELP_TEXTS / f"{name}.txt"
    if not file.is_file() or (HELP_TEXTS / "versions.txt").read_text(encoding="utf-8") != versions():
        return None
    return file.read_text(encoding="utf-8")


def versions() -> str:
    """The libraries whose options are among the commands'."""
    return "".join(f"{name}=={version(name)}\n" for name in ("sentence-transformers", "transformers"))


def _meant(name: str, known: Sequence[str] | dict[str, str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "usage: hf-cocondenser COMMAND [--help] ...\n\ncommands:\n" + "\n".join(lines)
