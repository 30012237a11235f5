"""`python -m benchmarks.search_1m`: exact search and FAISS indexes over a million vectors: speed, memory, recall@100.

The vectors are drawn (a mixture of clusters whose directions matter unequally, as embeddings are), so that the benchmark
needs no data; queries are other draws from the same mixture. They lie on disk and are read through a memory map.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import machine
from hf_cocondenser.retrieval.index import FaissIndex
from hf_cocondenser.retrieval.topk import Matrix, exact_top_k

DIMENSION = 384
HITS = 100
BUILD_TIME = "build_cpu_seconds.json"
EXACT = "exact, blocked over the memory map"


def main() -> None:
    """Parse, measure, print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_1m", description=__doc__)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--factories", nargs="*", default=["Flat", "IVF1024,PQ48", "OPQ48,IVF1024,PQ48"])
    parser.add_argument(
        "--folder", type=Path, help="where vectors and indexes are kept and found again (default: a temporary one)"
    )
    parser.add_argument("--build-only", action="store_true", help="make what --folder lacks, and time no search")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        path = folder / f"vectors-{arguments.vectors}.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            draw(arguments.vectors, path)
        vectors = np.load(path, mmap_mode="r")
        indexes = {factory: folder / f"{factory}-{arguments.vectors}" for factory in arguments.factories}
        for factory, at in indexes.items():
            build(vectors, factory, at)
        if arguments.build_only:
            return
        queries = folder / f"queries-{arguments.queries}.npy"
        np.save(queries, mixture(arguments.queries, seed=1))
        report = {"machine": machine(), "vectors": list(vectors.shape), "queries": arguments.queries, "hits": HITS}
        report["systems"] = compare(path, queries, indexes)
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


def mixture(count: int, seed: int, clusters: int = 2000) -> np.ndarray:
    """Unit vectors, float32 (count, 384), from clusters drawn once for all seeds."""
    shape = np.random.default_rng(0)
    scales = np.arange(1, DIMENSION + 1, dtype=np.float32) ** -0.5
    centres = shape.normal(size=(clusters, DIMENSION)).astype(np.float32) * scales
    rng = np.random.default_rng([2, seed])
    noise = rng.normal(size=(count, DIMENSION)).astype(np.float32) * scales * 0.7
    vectors = centres[rng.integers(0, clusters, count)] + noise
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def draw(count: int, path: Path, block: int = 50_000) -> None:
    """Write vectors block by block."""
    matrix = np.lib.format.open_memmap(path, "w+", np.float32, (count, DIMENSION))
    for number, start in enumerate(range(0, count, block)):
        matrix[start : start + block] = mixture(min(block, count - start), seed=100 + number)
    matrix.flush()


def build(vectors: Matrix, factory: str, folder: Path) -> None:
    """Build and save an index, with the CPU seconds that took; what is there is kept."""
    if (folder / BUILD_TIME).exists():
        return
    start = time.process_time()
    FaissIndex.build(vectors, factory, show_progress=True).save(folder, overwrite=True)
    (folder / BUILD_TIME).write_text(json.dumps(round(time.process_time() - start, 1)), encoding="utf-8")


def compare(vectors: Path, queries: Path, indexes: dict[str, Path]) -> dict[str, Any]:
    """Every system's figures, each of a process of its own, so that its peak memory is its own."""
    systems = {}
    for name, folder in {EXACT: None, **indexes}.items():
        with multiprocessing.get_context("spawn").Pool(1) as process:
            systems |= process.apply(measure, (name, folder, vectors, queries))
    return systems


def measure(name: str, folder: Path | None, vectors_path: Path, queries_path: Path) -> dict[str, Any]:
    """Figures of the exact search (no folder), which leaves its hits beside the queries, or of an index."""
    vectors, queries = np.load(vectors_path, mmap_mode="r"), np.load(queries_path)
    truth_path = queries_path.with_suffix(".truth.npy")
    if folder is None:
        (_, truth), figures = timed(lambda: exact_top_k(queries, vectors, HITS))
        np.save(truth_path, truth)
        return {name: {**figures, "recall@100": 1.0, "index_mib": 0}}
    truth = np.load(truth_path)
    index = FaissIndex.load(folder)
    built = {
        "build_cpu_seconds": json.loads((folder / BUILD_TIME).read_text(encoding="utf-8")),
        "index_mib": round((folder / "index.faiss").stat().st_size / 2**20),
    }
    (_, rows), figures = timed(lambda: index.search(queries, HITS))
    systems = {f"{name}, its own scores": {**built, **figures, "recall@100": recall(rows, truth)}}
    if not index.is_exact:
        (_, rows), figures = timed(lambda: index.search(queries, HITS, rescore=vectors))
        systems[f"{name}, 1,000 candidates scored again"] = {**built, **figures, "recall@100": recall(rows, truth)}
    return systems


def timed(search: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """A search's result with its speed (the better of two runs) and this process's peak memory so far."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        result = search()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result, {"queries_per_second": round(len(result[1]) / min(seconds), 1), "peak_rss_mib": round(peak)}


def recall(rows: np.ndarray, truth: np.ndarray) -> float:
    """Share of the true hits among those found."""
    return round(float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(rows, truth, strict=True)])), 4)


if __name__ == "__main__":
    main()
