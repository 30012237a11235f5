"""`python -m benchmarks.starts`: what a start is worth: the same fine-tuning from several, over seeds and amounts of labels.

    python -m benchmarks.starts --starts random latent=runs/latent tiny=cocondenser-tiny --shape-of tiny \
        --data ../shared/data/squad --labels none 100 1000 --seeds 1 2 3 --evaluate-on ../shared/data/squad \
        --output-dir runs/starts -- --max-steps 60 --passage-length 64

What stands behind `--` goes to `hf-cocondenser finetune`, which chooses checkpoints on development queries and never reads
the test split; lengths and pooling hold for `--labels none` too, where nothing is trained. With two rounds each is measured.
A cell that is there is not done again, so the same command goes on where it stopped; one of another checkpoint or other
flags is refused. `random` is the shape of another start with weights drawn anew for each seed. Intervals are bootstrapped
over queries and, with several seeds, over seeds too; differences are paired by both.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hf_cocondenser.cli.command import parse
from hf_cocondenser.cli.finetune import COMMAND
from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.systems import measure_run
from hf_cocondenser.finetuning.config import settings
from hf_cocondenser.finetuning.dev import hold_out, sample_dev
from hf_cocondenser.finetuning.inputs import dev_split
from hf_cocondenser.finetuning.retriever_start import load_starting_point
from hf_cocondenser.finetuning.training import RETRIEVER
from hf_cocondenser.quickstart.untrained import save_random_weights
from hf_cocondenser.research.study.statistics import Estimate
from hf_cocondenser.retrieval.bm25 import BM25Index
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
from hf_cocondenser.retrieval.dense import dense_search
from hf_cocondenser.retrieval.retriever import load_retriever
from hf_cocondenser.retrieval.runs import Run
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.files import output_folder, read_json, write_json, write_text
from hf_cocondenser.utils.records import file_hash
from hf_cocondenser.utils.steps import STEPS
from hf_cocondenser.utils.tables import markdown_table

logger = logging.getLogger("benchmarks.starts")

MEASURES = ("nDCG@10", "Recall@100")
RANDOM, NO_LABELS, ALL = "random", "none", "all"
RESAMPLES = 10_000

Values = dict[str, dict[str, list[float]]]
"""Data set -> measure -> values, query by query."""


def main(arguments: list[str] | None = None) -> None:
    """Train and measure every cell, and write the table."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    own = list(sys.argv[1:] if arguments is None else arguments)
    behind = own.index("--") if "--" in own else len(own)
    own, finetuning = own[:behind], own[behind + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--starts", nargs="+", required=True, help="NAME=CHECKPOINT, and 'random'; the first is compared with"
    )
    parser.add_argument("--shape-of", help="the named start whose shape and tokenizer 'random' has")
    parser.add_argument("--data", required=True, help="BEIR folder to fine-tune on")
    parser.add_argument(
        "--labels", nargs="+", default=[ALL], help="training queries: numbers, 'all', or 'none' (no fine-tuning)"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--evaluate-on", nargs="+", required=True, help="BEIR folders to measure on")
    parser.add_argument("--split", default="auto", help="judgements to measure on; dev or train to choose something")
    parser.add_argument("--eval-queries", type=int, default=0, help="of each data set at most, sampled; 0: all")
    parser.add_argument("--eval-documents", type=int, default=0, help="relevant ones and others, sampled; 0: all")
    parser.add_argument("--output-dir", type=Path, required=True)
    options = parser.parse_args(own)
    for labels in options.labels:
        if labels not in (NO_LABELS, ALL) and not (labels.isdecimal() and int(labels)):
            parser.error(f"--labels {labels}: a number above 0, '{ALL}', or '{NO_LABELS}' for no fine-tuning.")
    starts = dict(start.partition("=")[::2] for start in options.starts)
    try:
        study = Study(options, starts, finetuning)
        write_text(options.output_dir / "table.md", study.table())
    except InputError as error:
        raise SystemExit(str(error)) from None


class Study:
    """The cells of one call: what they start from, are trained with and are measured on."""

    def __init__(self, options: argparse.Namespace, starts: dict[str, str], finetuning: list[str]) -> None:
        self.options = options
        self.starts = starts
        self.finetuning = finetuning
        flags = ["CHECKPOINT", "--output-dir", "FOLDER", "--data", options.data, *finetuning]
        parsed = parse("finetune", COMMAND, flags)
        self.args, self.mining = parsed["args"], parsed["mining"]
        self.pairs, self.development = parsed["pairs"], parsed["development"]
        self.folder: Path = options.output_dir
        self.folder.mkdir(parents=True, exist_ok=True)
        self.train_data = load_retrieval_data(options.data, "train")
        self.holds_out = self.args.measures and dev_split(options.data, self.train_data) is None
        self.data_sets: dict[str, RetrievalData] = {}
        for source in options.evaluate_on:
            data = load_retrieval_data(source, options.split)
            number = options.eval_queries or len(data.queries)
            self.data_sets[data.name] = sample_dev(data, number, options.eval_documents, seed=0)

    def table(self) -> str:
        """Every cell's means and its differences from the first start's, data set by data set."""
        found: dict[tuple[str, int, str], list[Values]] = {}
        for labels in self.options.labels:
            for name in self.starts:
                cells = [self.cell(name, labels, seed) for seed in self.seeds(name, labels)]
                for step, by_seed in enumerate(zip(*cells, strict=True), start=1):
                    found[labels, step, name] = list(by_seed)
        bm25 = self.measured("bm25", bm25_search)
        first = next(iter(self.starts))
        parts = []
        for data in self.data_sets.values():
            parts.append(
                f"## {data.name} ({data.split}: {len(data.queries):,} queries, {len(data.corpus):,} documents)"
            )
            for measure in MEASURES:
                rows = [["", "", "BM25", str(estimate([bm25[data.name][measure]])), "", "", ""]]
                values = {key: [cell[data.name][measure] for cell in cells] for key, cells in found.items()}
                for (labels, step, name), own in values.items():
                    row = [labels, str(step), name, str(estimate(own)), seeds_range(own)]
                    row.append(difference(own, values[labels, step, first]))
                    row.append(difference(own, values[labels, 1, name]))
                    rows.append(row)
                header = ["labels", "round", "start", measure, "range over seeds", f"less {first}", "less round 1"]
                parts.append(markdown_table([header, *rows]))
        return "\n\n".join(parts) + "\n"

    def seeds(self, name: str, labels: str) -> list[int]:
        """Only what is drawn has several seeds: fresh weights and fine-tuning."""
        return self.options.seeds[:1] if labels == NO_LABELS and name != RANDOM else self.options.seeds

    def rounds(self, labels: str) -> int:
        """How many retrievers a cell has."""
        return 1 if labels == NO_LABELS else self.mining.rounds

    def cell(self, name: str, labels: str, seed: int) -> list[Values]:
        """Train and measure the retrievers of a cell, the last round's last, or find them done."""
        cell = f"{name}-{labels}-{seed}"
        folder = self.folder / "cells" / cell
        checkpoint = self.fresh(seed) if name == RANDOM else Path(checkpoint_path(self.starts[name]))
        self.require_same(folder.with_name(f"{cell}.json"), checkpoint, labels)
        if not (folder / "modules.json").is_file():
            self.train(checkpoint, labels, seed, folder)
        rounds = range(1, self.rounds(labels))
        found = [self.measure(f"{cell}-round{step}", folder / STEPS / f"round{step}" / RETRIEVER) for step in rounds]
        return [*found, self.measure(cell, folder)]

    def require_same(self, record: Path, checkpoint: Path, labels: str) -> None:
        """Refuse to take a cell for one of another checkpoint or other flags; keep what this one is made with."""
        weights = sorted(checkpoint.glob("*.safetensors")) if checkpoint.is_dir() else []
        made_with = {
            "checkpoint": [file_hash(path) for path in weights] or str(checkpoint),
            "finetuning": settings(self.args),
            "development": settings(self.development),
            "mining": settings(self.mining),
            "pairs": settings(self.pairs),
            "data": None if labels == NO_LABELS else str(Path(self.options.data).resolve()),
        }
        if not (record.with_suffix("") / "modules.json").is_file():  # fine-tuning itself looks after its steps
            record.parent.mkdir(parents=True, exist_ok=True)
            write_json(record, made_with)
            return
        before = read_json(record) if record.is_file() else {}
        changed = [part for part, value in made_with.items() if before.get(part) != value]
        if changed:
            raise InputError(
                f"'{record.with_suffix('')}' was made with other settings ({', '.join(changed)}); name another"
                " --output-dir, or delete it with its values."
            )

    def train(self, checkpoint: Path, labels: str, seed: int, folder: Path) -> None:
        """Make the retrievers of a cell."""
        if labels == NO_LABELS:
            load_starting_point(checkpoint, self.args).save_pretrained(str(folder))
            return
        share = 1.0 if labels == ALL else min(1.0, int(labels) / self.labelled(seed))
        command = [sys.executable, "-m", "hf_cocondenser", "finetune", str(checkpoint), "--data", self.options.data]
        command += ["--output-dir", str(folder), "--seed", str(seed), "--train-share", repr(share), *self.finetuning]
        logger.info("%s", " ".join(command))
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(f"The fine-tuning of '{folder}' failed; see above.")

    def labelled(self, seed: int) -> int:
        """Training queries that a fine-tuning has, without those that it holds out where the data has no dev split."""
        train = self.train_data
        if self.holds_out:
            train, _ = hold_out(train, self.development.dev_share, self.development.dev_queries, seed)
        return len(train.relevant())

    def measure(self, name: str, retriever: Path) -> Values:
        """Values of a retriever on every data set."""
        loaded: list[Any] = []

        def search(data: RetrievalData) -> Run:
            if not loaded:
                loaded.append(load_retriever(retriever))
            return dense_search(
                loaded[0],
                data.queries,
                data.corpus,
                100,
                exclude_same_id=data.protocol.exclude_same_id,
                show_progress=True,
            )

        return self.measured(name, search)

    def fresh(self, seed: int) -> Path:
        """Random weights in the shape of another start, with its tokenizer."""
        folder = self.folder / "random" / f"{self.options.shape_of}-{seed}"
        if not any(folder.glob("*.safetensors")):
            if self.options.shape_of not in self.starts:
                raise InputError("'random' needs --shape-of NAME, the start whose shape and tokenizer it has.")
            with output_folder(folder, overwrite=True) as whole:
                save_random_weights(self.starts[self.options.shape_of], whole, seed)
        return folder

    def measured(self, name: str, search: Callable[[RetrievalData], Run]) -> Values:
        """Values of a run for every data set; each is kept."""
        values: Values = {}
        for data in self.data_sets.values():
            path = (
                self.folder / "values" / f"{name}-{data.name}-{data.split}-{len(data.queries)}-{len(data.corpus)}.json"
            )
            if not path.is_file():
                per_query = measure_run(data, search(data), MEASURES).per_query
                path.parent.mkdir(exist_ok=True)
                write_json(path, {m: [per_query[query][m] for query in data.qrels] for m in MEASURES})
                found = read_json(path)
                means = ", ".join(f"{m} {np.mean(found[m]):.3f}" for m in MEASURES)
                logger.info("%s on %s: %s", name, data.name, means)
            values[data.name] = read_json(path)
        return values


def bm25_search(data: RetrievalData) -> Run:
    """BM25's first 100."""
    return BM25Index.build(data.corpus).search(data.queries, exclude_same_id=data.protocol.exclude_same_id)


def estimate(values: list[list[float]]) -> Estimate:
    """Mean and 95 % interval of values (seeds, queries): both are drawn anew."""
    array = np.asarray(values)
    rng = np.random.default_rng(0)
    means = np.empty(RESAMPLES)
    for draw in range(RESAMPLES):
        seeds = array[rng.integers(0, len(array), len(array))].mean(axis=0)
        means[draw] = seeds[rng.integers(0, array.shape[1], array.shape[1])].mean()
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(array.mean()), float(low), float(high))


def difference(values: list[list[float]], reference: list[list[float]]) -> str:
    """The same of differences; a system with one seed is compared with each seed of the other."""
    if values == reference:
        return ""
    return estimate((np.asarray(values) - np.asarray(reference)).tolist()).signed


def seeds_range(values: list[list[float]]) -> str:
    """Least and greatest mean of the seeds."""
    means = [float(np.mean(one)) for one in values]
    return f"{min(means):.3f}-{max(means):.3f}" if len(means) > 1 else ""


if __name__ == "__main__":
    main()
