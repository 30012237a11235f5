"""The steps of fine-tuning, in order, each with its manifest."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_cocondenser.files import read_json, require_new_folder, write_json
from hf_cocondenser.finetuning.config import FinetuneConfig, MiningConfig, settings
from hf_cocondenser.finetuning.cross_encoder import label_queries, load_cross_encoder, read_unlabelled
from hf_cocondenser.finetuning.mining import bm25_pool, mined_pool
from hf_cocondenser.finetuning.pools import read_pool, write_pool
from hf_cocondenser.finetuning.starting_point import load_starting_point, model_hash
from hf_cocondenser.finetuning.steps import MANIFEST, processes, run_step
from hf_cocondenser.finetuning.training import RETRIEVER, train_round
from hf_cocondenser.finetuning.training_set import TrainingSet, relevant_documents
from hf_cocondenser.hub.card import RESULTS_FILE, Result, write_card
from hf_cocondenser.hub.records import card_from_records
from hf_cocondenser.retrieval.collection import RetrievalData, hash_texts
from hf_cocondenser.retrieval.search import DenseSearcher

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

STEPS = "steps"
SUMMARY = "finetuning.json"
NEGATIVES = "negatives.jsonl"
POSITIVES = "positives.jsonl"
QUERIES = "queries.json"


class FinetuningJob:
    """One fine-tuning: training data, development data and configuration, and the folder it happens in.

    Args:
        checkpoint: the starting point.
        train: training queries, judgements and corpus.
        dev: what chooses the checkpoint; None keeps the last one.
        output_dir: becomes the retriever.
        config: rounds and training.
        mining: hard negatives.
        overwrite: do steps again whose inputs changed.

    Raises:
        InputError: the output folder holds something else.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        train: RetrievalData,
        dev: RetrievalData | None,
        output_dir: Path,
        config: FinetuneConfig,
        mining: MiningConfig,
        overwrite: bool = False,
    ) -> None:
        if processes().is_main_process and not (output_dir / STEPS).is_dir():
            require_new_folder(output_dir, overwrite)
        self.checkpoint = checkpoint
        self.train = train
        self.dev = dev
        self.output_dir = output_dir
        self.steps = output_dir / STEPS
        self.config = config
        self.mining = mining
        self.overwrite = overwrite
        self.hashes = {"corpus": train.corpus_hash(), **_judged_hashes(train)}

    def run(self) -> dict[str, Any]:
        """Do what is left to do; returns the summary."""
        self.steps.mkdir(parents=True, exist_ok=True)
        manifests = {"bm25": self._bm25()}
        manifests["round1"] = self._round("round1", self._start(), ["bm25"])
        if self.config.rounds == 2:
            round1 = manifests["round1"]["result"]["model_hash"]
            manifests["mined"] = self._mine(round1)
            pools = ["bm25", "mined"] if self.config.round2_negatives == "both" else ["mined"]
            if self.mining.unlabelled_queries:
                manifests["labelled"] = self._label(round1)
                pools.append("labelled")
            if processes().is_main_process:
                shutil.rmtree(self.steps / f"embeddings-{round1[:12]}", ignore_errors=True)
            manifests["round2"] = self._round("round2", self._start(self.config.round2_start), pools)
        summary = {
            "checkpoint": str(self.checkpoint),
            "data": {"name": self.train.name, "training_queries": len(self.train.queries), "hashes": self.hashes},
            "dev": None if self.dev is None else {"queries": len(self.dev.queries), "documents": len(self.dev.corpus)},
            "finetuning": settings(self.config),
            "mining": settings(self.mining),
            "steps": {name: manifest["result"] for name, manifest in manifests.items()},
        }
        if processes().is_main_process:
            self._publish(self.steps / f"round{self.config.rounds}" / RETRIEVER, summary)
        processes().wait_for_everyone()
        return summary

    def _start(self, which: str = "pretrained") -> SentenceTransformer:
        checkpoint = self.checkpoint if which == "pretrained" else self.steps / "round1" / RETRIEVER
        return load_starting_point(checkpoint, self.steps, self.config)

    def _bm25(self) -> dict[str, Any]:
        def work(folder: Path) -> dict[str, Any]:
            pool, report = bm25_pool(self.train, self.mining, self.config.seed)
            write_pool(folder / NEGATIVES, pool)
            return report

        own = {"bm25_depth": self.mining.bm25_depth, "bm25_negatives": self.mining.bm25_negatives}
        return self._step("bm25", {**self.hashes, **own, "seed": self.config.seed}, work)

    def _mine(self, model: str) -> dict[str, Any]:
        def work(folder: Path) -> dict[str, Any]:
            searcher = self._searcher(model)
            if not processes().is_main_process:
                return {}
            judge = load_cross_encoder(self.mining.cross_encoder) if self.mining.cross_encoder else None
            pool, report = mined_pool(searcher, self.train, self.mining, self.config.seed, judge)
            write_pool(folder / NEGATIVES, pool)
            return report

        own = settings(self.mining, "bm25_depth", "bm25_negatives", "unlabelled_queries", "positive_above")
        inputs = {**self.hashes, **own, "model": model, "seed": self.config.seed}
        return self._step("mined", inputs, work, everywhere=True)

    def _searcher(self, model: str) -> DenseSearcher:
        """Round 1's retriever over the corpus; the processes share the encoding, and a killed one is gone on with."""
        cache = self.steps / f"embeddings-{model[:12]}"
        return DenseSearcher.build(self._start("round1"), self.train.corpus, cache_dir=cache, show_progress=True)

    def _label(self, model: str) -> dict[str, Any]:
        known = [*self.train.queries.values(), *(self.dev.queries.values() if self.dev else ())]
        queries = read_unlabelled(str(self.mining.unlabelled_queries), known)

        def work(folder: Path) -> dict[str, Any]:
            searcher = self._searcher(model)
            if not processes().is_main_process:
                return {}
            relevant, negatives, counts = label_queries(
                searcher.search(queries, self.mining.mine_depth),
                queries,
                self.train.corpus,
                load_cross_encoder(str(self.mining.cross_encoder)),
                above=self.mining.positive_above,
                below=self.mining.negative_below,
                depth=self.mining.mine_depth,
                number=self.mining.mine_negatives,
            )
            write_pool(folder / NEGATIVES, negatives)
            write_pool(folder / POSITIVES, relevant)
            write_json(folder / QUERIES, {query: queries[query] for query in relevant})
            return {"counts": counts}

        names = ("mine_depth", "mine_negatives", "cross_encoder", "negative_below", "positive_above")
        own = {name: getattr(self.mining, name) for name in names}
        inputs = {"corpus": self.hashes["corpus"], "unlabelled": hash_texts(queries.items()), "model": model, **own}
        return self._step("labelled", inputs, work, everywhere=True)

    def _round(self, name: str, model: SentenceTransformer, pools: list[str]) -> dict[str, Any]:
        def work(folder: Path) -> dict[str, Any]:
            queries, relevant = dict(self.train.queries), relevant_documents(self.train.qrels)
            if "labelled" in pools:
                queries |= read_json(self.steps / "labelled" / QUERIES)
                relevant |= read_pool(self.steps / "labelled" / POSITIVES)
            training_set = TrainingSet(
                queries,
                self.train.corpus,
                relevant,
                [read_pool(self.steps / pool / NEGATIVES) for pool in pools],
                self.config.negatives_per_query,
                self.config.seed,
            )
            return train_round(model, training_set, self.dev, folder, self.config)

        inputs = {
            **self.hashes,
            **settings(self.config, "rounds", "round2_start", "round2_negatives"),
            "start": model_hash(model),
            "pools": {pool: _folder_hash(self.steps / pool) for pool in pools},
            "dev": None if self.dev is None else {"corpus": self.dev.corpus_hash(), **_judged_hashes(self.dev)},
            "processes": processes().num_processes,
        }
        return self._step(name, inputs, work, everywhere=True)

    def _step(
        self, name: str, inputs: dict[str, Any], work: Callable[[Path], dict[str, Any]], everywhere: bool = False
    ) -> dict[str, Any]:
        return run_step(self.steps / name, inputs, work, overwrite=self.overwrite, everywhere=everywhere)

    def _publish(self, retriever: Path, summary: dict[str, Any]) -> None:
        """Make the output folder the retriever; `modules.json`, by which it is known as one, comes last."""
        before = self.output_dir / SUMMARY
        if not before.is_file() or _differs(retriever, self.output_dir):
            for name in read_json(before).get("files", []) if before.is_file() else []:
                path = self.output_dir / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            for entry in sorted(retriever.iterdir(), key=lambda path: path.name == "modules.json"):
                if entry.is_dir():
                    shutil.copytree(entry, self.output_dir / entry.name, dirs_exist_ok=True)
                else:
                    shutil.copyfile(entry, self.output_dir / entry.name)
        summary = {**summary, "files": sorted(entry.name for entry in retriever.iterdir())}
        if self.dev is not None and self.config.evaluations:
            measures = summary["steps"][f"round{self.config.rounds}"]["dev"]
            result = Result(f"{self.train.name} (development queries)", measures, queries=len(self.dev.queries))
            write_json(self.output_dir / RESULTS_FILE, [asdict(result)])
        write_json(self.output_dir / SUMMARY, summary)
        write_card(self.output_dir, card_from_records(self.output_dir))


def _differs(one: Path, two: Path) -> bool:
    files = [path.relative_to(one) for path in one.rglob("*") if path.is_file()]
    return any(not (two / file).is_file() or _file_hash(one / file) != _file_hash(two / file) for file in files)


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _folder_hash(folder: Path) -> str:
    """A hash of what a step wrote, its manifest left out: that holds the seconds it took."""
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    return hashlib.sha256("".join(f"{path.name} {_file_hash(path)} " for path in files).encode()).hexdigest()


def _judged_hashes(data: RetrievalData) -> dict[str, str]:
    return {
        "queries": hash_texts(data.queries.items()),
        "qrels": hashlib.sha256(json.dumps(data.qrels, sort_keys=True).encode()).hexdigest(),
    }
