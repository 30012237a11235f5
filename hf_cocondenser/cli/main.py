"""`hf-cocondenser COMMAND ...`: finds the command, runs it, turns bad input into one sentence and status 2."""

from __future__ import annotations

import importlib
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress

from safetensors import SafetensorError

from hf_cocondenser.cli.usage import answer
from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.locks import restore_replaced

logger = logging.getLogger(__name__)

# What safetensors and torch say, neither of them with an OSError.
_NOT_WRITTEN = r"Error while serializing: I/O error|PytorchStreamWriter|inline_container"
_NO_ANSWER = r"timed? ?out|timeout"
_NO_MEMORY = r"out of memory|not enough memory|can't allocate memory"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (0, 2 for bad input, 130 for Ctrl-C)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    status = answer(arguments)
    if status is not None:
        return status
    name, *rest = arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # documents may hold what the terminal's encoding does not
    try:
        _require_whole_launch()
        if not sys.stderr.isatty():  # read when datasets is imported
            os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        from hf_cocondenser.cli.command import execute

        command = importlib.import_module(f"hf_cocondenser.cli.{name}").COMMAND
        _quieten_libraries()
        for argument in rest:  # any of them may name a folder
            with suppress(ValueError, OSError):
                restore_replaced(argument)
        execute(name, command, rest)
    except (InputError, OSError) as error:  # a full disk, a missing right: the system's own sentence names the path
        logger.debug("Where it happened:", exc_info=True)  # with HF_COCONDENSER_LOG=DEBUG
        message = error.for_command_line if isinstance(error, InputError) else str(error)
        sys.stderr.write(f"hf-cocondenser {name}: error: {message}\n")
        return 2
    except (SafetensorError, RuntimeError) as error:
        message = " ".join(str(error).split())
        if re.search(_NOT_WRITTEN, message):
            sys.stderr.write(
                f"hf-cocondenser {name}: error: A file cannot be written; is the disk full? ({message})\n"
            )
        elif re.search(_NO_MEMORY, message):
            sys.stderr.write(
                f"hf-cocondenser {name}: error: The memory is full; take smaller batches or shorter texts. ({message})\n"
            )
        elif re.search(_NO_ANSWER, message, re.IGNORECASE) and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            sys.stderr.write(
                f"hf-cocondenser {name}: error: Another process of this job did not answer within the time limit: it hangs or"
                f" was stopped. The limit is --ddp-timeout in pretrain, the environment variable HF_COCONDENSER_TIMEOUT"
                f" elsewhere, both in seconds. ({message})\n"
            )
        else:
            raise
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"hf-cocondenser {name}: stopped.\n")
        return 130
    except SystemExit as stop:  # --help
        return int(stop.code or 0)
    finally:
        if "torch.distributed" in sys.modules:
            from hf_cocondenser.utils.distributed import leave_process_group

            leave_process_group()
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
    if not isinstance(logging.getLevelName(level), int):
        raise InputError(f"HF_COCONDENSER_LOG is '{level}'; it must be DEBUG, INFO, WARNING or ERROR.")
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
