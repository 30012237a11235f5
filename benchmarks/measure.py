"""What every benchmark shares: the machine's name, real documents as spans, CPU time, peak memory, interleaving."""

from __future__ import annotations

import logging
import multiprocessing
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from hf_cocondenser.data.documents import FEATURES, load_documents
from hf_cocondenser.data.prepare import prepare_spans
from hf_cocondenser.data.tokenizer import train_wordpiece

logger = logging.getLogger(__name__)

DATA = Path(os.environ.get("HF_COCONDENSER_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    instructions = [name for name in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if name in flags]
    model = next((line.split(":")[1].strip() for line in flags.splitlines() if line.startswith("model name")), "")
    return {
        "processor": model or platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": instructions,
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def real_documents(limit: int | None = None) -> Dataset:
    """The documents of docs-collection and wiki-articles, or the installed packages' docstrings where these are absent."""
    folders = [DATA / name / "documents.jsonl" for name in ("docs-collection", "wiki-articles")]
    if all(folder.is_file() for folder in folders):
        rows = [row for folder in folders for row in load_documents(folder)]
    else:
        logger.info(
            "No real data at '%s' (set HF_COCONDENSER_DATA): the docstrings of installed packages serve.", DATA
        )
        from hf_cocondenser.quickstart.docstrings import read_docstrings

        rows = [
            {"_id": doc.qualified_name, "title": "", "passages": list(doc.paragraphs)} for doc in read_docstrings()
        ]
    return Dataset.from_list(rows[:limit], features=FEATURES)


def prepared_spans(vocabulary: int = 30522) -> Path:
    """A span folder of `real_documents`, made once and kept in the temporary folder."""
    folder = Path(tempfile.gettempdir()) / f"hf-cocondenser-benchmark-spans-{vocabulary}"
    if not (folder / "manifest.json").is_file():
        documents = real_documents()
        tokenizer = train_wordpiece(("\n".join(row["passages"]) for row in documents), vocabulary)
        prepare_spans(documents, tokenizer, folder, num_proc=2, overwrite=True)
    return folder


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, float]:
    """CPU seconds (all threads) and wall seconds of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def interleaved(variants: dict[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, float]]:
    """Run the variants in turn, `repeats` times after one warm-up each; medians, so that drift hits all alike."""
    for work in variants.values():
        work()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, work in variants.items():
            times[name].append(cpu_seconds(work))
    return {
        name: {"cpu_s": statistics.median(t[0] for t in pairs), "wall_s": statistics.median(t[1] for t in pairs)}
        for name, pairs in times.items()
    }


def _peak_of(work: Callable[..., Any], arguments: tuple[Any, ...], pipe: Any) -> None:
    work(*arguments)
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def peak_memory(work: Callable[..., Any], *arguments: Any) -> float:
    """Peak resident memory in GiB of a fresh process that does `work(*arguments)` (libraries and weights included)."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_peak_of, args=(work, arguments, sender))
    process.start()
    sender.close()
    try:
        return float(receiver.recv())
    finally:
        process.join()


def matmul_rate(dtype: torch.dtype, size: int = 4096, repeats: int = 5) -> float:
    """This machine's rate for a large matrix product, in GFLOP per CPU second."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    a @ b
    seconds = statistics.median(cpu_seconds(lambda: a @ b)[0] for _ in range(repeats))
    return 2 * size**3 / seconds / 1e9
