"""`hf-cocondenser COMMAND ...`: finds the command, runs it, turns bad input into one sentence and status 2."""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version

from safetensors import SafetensorError

from hf_cocondenser.errors import InputError

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


# What safetensors and torch say, neither of them with an OSError.
_NOT_WRITTEN = r"Error while serializing: I/O error|PytorchStreamWriter|inline_container"


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "usage: hf-cocondenser COMMAND [--help] ...\n\ncommands:\n" + "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (0, 2 for bad input, 130 for Ctrl-C)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(_usage() + "\n")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        sys.stdout.write(f"hf-cocondenser {version('hf-cocondenser')}\n")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        sys.stderr.write(f"hf-cocondenser: error: there is no command '{name}'.\n{_usage()}\n")
        return 2
    try:
        _require_whole_launch()
        if not sys.stderr.isatty():  # read when datasets is imported
            os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        from hf_cocondenser.cli.command import parse

        command = importlib.import_module(f"hf_cocondenser.cli.{name}").COMMAND
        _quieten_libraries()
        command.run(*parse(name, command, rest))
    except InputError as error:
        sys.stderr.write(f"hf-cocondenser {name}: error: {error}\n")
        return 2
    except OSError as error:  # a full disk, a missing right: the system's own sentence names the path
        sys.stderr.write(f"hf-cocondenser {name}: error: {error}\n")
        return 2
    except (SafetensorError, RuntimeError) as error:
        if not re.search(_NOT_WRITTEN, str(error)):
            raise
        sys.stderr.write(f"hf-cocondenser {name}: error: A file cannot be written; is the disk full? ({error})\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"hf-cocondenser {name}: stopped.\n")
        return 130
    except SystemExit as stop:  # --help
        return int(stop.code or 0)
    return 0


def _require_whole_launch() -> None:
    """Refuse the single process that `accelerate launch --num_processes N` starts on CPUs without a word.

    There it leaves several processes to MPI (--mpirun_hostfile), and only sets the address they would meet at.
    """
    asked = {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= os.environ.keys()
    counts = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
    if asked and not os.environ.keys() & set(counts):
        raise InputError(
            "accelerate launch was asked for several processes and started one, as it does on CPUs; start them with "
            "'torchrun --nproc-per-node NUMBER -m hf_cocondenser ...', or add --multi_gpu, which means the same there."
        )


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _quieten_libraries() -> None:
    """Log our own lines; keep what users of a command can do nothing about away from them.

    `HF_COCONDENSER_LOG=DEBUG` shows all of it, Python's own `-W` and `PYTHONWARNINGS` the warnings.
    """
    level = os.environ.get("HF_COCONDENSER_LOG", "INFO").upper()
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    if level == "DEBUG":
        return
    for library in ("httpx", "httpx2", "faiss", "datasets", "sentence_transformers", "bm25s", "jieba"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # Loading reports: which weights are missing is checked and told in our own words.
    logging.getLogger("transformers.modeling_utils").addFilter(_is_error)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # one bar per loaded and saved model ...
    if sys.stderr.isatty():
        enable_progress_bars()  # ... but a download's stays
    else:
        disable_progress_bars()


if __name__ == "__main__":
    sys.exit(main())
