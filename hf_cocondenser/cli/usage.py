"""What the command line says of itself. It imports nothing of the package, so that asking for it takes no time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version

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


def answer(arguments: Sequence[str]) -> int | None:
    """Answer what needs no command: help, the version, or that there is no such command.

    Returns:
        The exit status; None where a command is named, and is to be run.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(_usage() + "\n")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        sys.stdout.write(f"hf-cocondenser {version('hf-cocondenser')}\n")
        return 0
    if arguments[0] not in COMMANDS:
        sys.stderr.write(f"hf-cocondenser: error: there is no command '{arguments[0]}'.\n{_usage()}\n")
        return 2
    return None


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "usage: hf-cocondenser COMMAND [--help] ...\n\ncommands:\n" + "\n".join(lines)
