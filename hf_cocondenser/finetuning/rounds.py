"""The rounds of fine-tuning: their steps in order, each with its manifest."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.choice import surely_better
from hf_cocondenser.finetuning.config import CROSS_ENCODER_TRAINING, DevelopmentConfig, MiningConfig, settings
from hf_cocondenser.finetuning.negatives.cross_encoder import label_queries, load_cross_encoder, read_unlabelled
from hf_cocondenser.finetuning.negatives.mining import bm25_pool, cross_encoder_pool, mined_pool
from hf_cocondenser.finetuning.negatives.pools import PairScorer, read_pool, write_pool
from hf_cocondenser.finetuning.negatives.train_cross_encoder import (
    MODEL,
    cross_encoder_report,
    require_classifiable,
    train_cross_encoder,
)
from hf_cocondenser.finetuning.retriever_start import load_starting_point
from hf_cocondenser.finetuning.training import DEV_VALUES, RETRIEVER, train_round
from hf_cocondenser.finetuning.training_set import TrainingSet
from hf_cocondenser.retrieval.collections.collection import RetrievalData, data_hashes
from hf_cocondenser.retrieval.dense import DenseSearcher
from hf_cocondenser.retrieval.retriever import fingerprint
from hf_cocondenser.utils.distributed import processes, wait_for_everyone
from hf_cocondenser.utils.files import read_json, write_json
from hf_cocondenser.utils.hashes import folder_hash, hash_texts
from hf_cocondenser.utils.steps import run_step

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

NEGATIVES = "negatives.jsonl"
BM25 = "bm25"  # the step
POSITIVES = "positives.jsonl"
QUERIES = "queries.json"
HELD_OUT = "held_out.json"


def bm25_step(
    folder: Path, train: RetrievalData, mining: MiningConfig, seed: int, overwrite: bool = False
) -> dict[str, Any]:
    """Draw BM25's negatives into `folder`, or find it done; returns the step's manifest."""

    def work(partial: Path) -> dict[str, Any]:
        pool, report = bm25_pool(train, mining, seed)
        write_pool(partial / NEGATIVES, pool)
        return report

    own = {"bm25_depth": mining.bm25_depth, "bm25_negatives": mining.bm25_negatives}
    return run_step(folder, {**data_hashes(train), **own, "seed": seed}, work, overwrite=overwrite)


class FinetuningJob:
    """The rounds on judged queries: data, configuration, and the folder they happen in.

    Args:
        start: the checkpoint that round 1 starts from (and round 2, unless it goes on from round 1).
        train: training queries, judgements and corpus.
        dev: what chooses the checkpoint; None keeps the last one.
        steps: folder of the steps.
        args: training.
        mining: rounds and hard negatives.
        development: the measure that chooses the weights.
        overwrite: do steps again whose inputs changed.
    """

    def __init__(
        self,
        start: str | Path,
        train: RetrievalData,
        dev: RetrievalData | None,
        steps: Path,
        args: RetrieverTrainingArguments,
        mining: MiningConfig,
        development: DevelopmentConfig,
        overwrite: bool = False,
    ) -> None:
        self.start = start
        self.train = train
        self.dev = dev
        self.steps = steps
        self.args = args
        self.mining = mining
        self.development = development
        self.overwrite = overwrite
        self.hashes = data_hashes(train)

    def run(self) -> dict[str, dict[str, Any]]:
        """Do what is left to do; returns the steps' manifests, the last round last."""
        if self.mining.rounds == 2 and self.mining.trains_cross_encoder:
            require_classifiable(self._cross_encoder_start())  # before round 1, not after it
        manifests = {BM25: bm25_step(self.steps / BM25, self.train, self.mining, self.args.seed, self.overwrite)}
        manifests["round1"] = self._round("round1", self._start(), [BM25])
        if self.mining.rounds == 2:
            round1 = manifests["round1"]["result"]["model_hash"]
            scored_by = self.mining.cross_encoder
            if self.mining.trains_cross_encoder:
                manifests["cross_encoder"] = self._train_cross_encoder(round1)
                scored_by = f"trained, {manifests['cross_encoder']['result']['model_hash']}"
            manifests["mined"] = self._mine(round1, scored_by)
            pools = [BM25, "mined"] if self.mining.round2_negatives == "both" else ["mined"]
            if self.mining.unlabelled_queries:
                manifests["labelled"] = self._label(round1, scored_by)
                pools.append("labelled")
            if processes().is_main_process:
                shutil.rmtree(self.steps / f"embeddings-{round1[:12]}", ignore_errors=True)
            manifests["round2"] = self._round("round2", self._start(self.mining.round2_start), pools)
        if self.mining.rounds == 2:
            self._drop_if_no_better(manifests)
        return manifests

    def _drop_if_no_better(self, manifests: dict[str, dict[str, Any]]) -> None:
        """Put round 2 before round 1, as the last one is published, where the development set does not prefer it."""
        places = [self.steps / name / DEV_VALUES for name in ("round1", "round2")]
        if not all(place.is_file() for place in places):
            return
        one, two = (np.array(read_json(place, list)) for place in places)
        if not surely_better(two, one):
            logger.info("Round 2 is not surely better on the development queries; round 1's retriever is kept.")
            manifests["round1"] = manifests.pop("round1")

    def _start(self, which: str = "pretrained") -> SentenceTransformer:
        checkpoint = self.start if which == "pretrained" else self.steps / "round1" / RETRIEVER
        return load_starting_point(checkpoint, self.args)

    def _cross_encoder_start(self) -> SentenceTransformer:
        start = self.mining.cross_encoder_start
        return load_starting_point(start, self.args) if start else self._start()

    def _train_cross_encoder(self, model: str) -> dict[str, Any]:
        """A cross-encoder, trained against passages that round 1's retriever finds."""
        encoder = self._cross_encoder_start()

        def work(folder: Path) -> dict[str, Any]:
            searcher = self._searcher(model)
            counts: dict[str, int] = {}
            if processes().is_main_process:
                pool, counts = cross_encoder_pool(searcher, self.train, self.mining, self.args.seed)
                write_pool(folder / NEGATIVES, pool)
            wait_for_everyone()
            pool = read_pool(folder / NEGATIVES)
            cross_encoder, left_out = train_cross_encoder(encoder, self.train, pool, folder, self.mining, self.args)
            if not processes().is_main_process:
                return {}
            scores = load_cross_encoder(str(folder / MODEL))([(pair["query"], pair["passage"]) for pair in left_out])
            write_json(folder / HELD_OUT, {"scores": scores.tolist(), "labels": [pair["label"] for pair in left_out]})
            return {"counts": counts, "model_hash": fingerprint(cross_encoder)}

        own = {name: getattr(self.mining, name) for name in CROSS_ENCODER_TRAINING if name != "cross_encoder_start"}
        inputs = {**self.hashes, **settings(self.args), **own, "start": fingerprint(encoder), "model": model}
        manifest = self._step("cross_encoder", inputs, work, everywhere=True)
        # The thresholds are no inputs of the training: they may change without it, and the report with them.
        held_out = read_json(self.steps / "cross_encoder" / HELD_OUT, {"scores": list, "labels": list})
        report = cross_encoder_report(np.array(held_out["scores"]), np.array(held_out["labels"]), self.mining)
        logger.info("The cross-encoder on queries it has not seen: %s", report)
        return {**manifest, "result": manifest["result"] | report}

    def _cross_encoder(self) -> PairScorer | None:
        name = self.steps / "cross_encoder" / MODEL if self.mining.trains_cross_encoder else self.mining.cross_encoder
        return load_cross_encoder(str(name)) if name else None

    def _mine(self, model: str, scored_by: str | None) -> dict[str, Any]:
        def work(folder: Path) -> dict[str, Any]:
            searcher = self._searcher(model)
            if not processes().is_main_process:
                return {}
            pool, report = mined_pool(searcher, self.train, self.mining, self.args.seed, self._cross_encoder())
            write_pool(folder / NEGATIVES, pool)
            return report

        without = (
            "rounds",
            "round2_start",
            "round2_negatives",
            "bm25_depth",
            "bm25_negatives",
            "unlabelled_queries",
            "positive_above",
            *CROSS_ENCODER_TRAINING,
        )
        own = {**settings(self.mining, *without), "cross_encoder": scored_by}
        inputs = {**self.hashes, **own, "model": model, "seed": self.args.seed}
        return self._step("mined", inputs, work, everywhere=True)

    def _searcher(self, model: str) -> DenseSearcher:
        """Round 1's retriever over the corpus; the processes share the encoding, and a killed one is gone on with."""
        cache = self.steps / f"embeddings-{model[:12]}"
        return DenseSearcher.build(self._start("round1"), self.train.corpus, cache_dir=cache, show_progress=True)

    def _label(self, model: str, scored_by: str | None) -> dict[str, Any]:
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
                self._cross_encoder(),  # type: ignore[arg-type]  # the configuration sees to it that there is one
                above=self.mining.positive_above,
                below=self.mining.negative_below,
                depth=self.mining.mine_depth,
                number=self.mining.mine_negatives,
            )
            write_pool(folder / NEGATIVES, negatives)
            write_pool(folder / POSITIVES, relevant)
            write_json(folder / QUERIES, {query: queries[query] for query in relevant})
            return {"counts": counts}

        names = ("mine_depth", "mine_negatives", "negative_below", "positive_above")
        own = {name: getattr(self.mining, name) for name in names} | {"cross_encoder": scored_by}
        inputs = {"corpus": self.hashes["corpus"], "unlabelled": hash_texts(queries.items()), "model": model, **own}
        return self._step("labelled", inputs, work, everywhere=True)

    def _round(self, name: str, model: SentenceTransformer, pools: list[str]) -> dict[str, Any]:
        def work(folder: Path) -> dict[str, Any]:
            queries, relevant = dict(self.train.queries), self.train.relevant()
            if "labelled" in pools:
                queries |= read_json(self.steps / "labelled" / QUERIES, dict)
                relevant |= read_pool(self.steps / "labelled" / POSITIVES)
            training_set = TrainingSet(
                queries,
                self.train.corpus,
                relevant,
                [read_pool(self.steps / pool / NEGATIVES) for pool in pools],
                self.args.negatives_per_query,
                self.args.seed,
            )
            return train_round(model, training_set, self.dev, folder, self.args, self.development)

        inputs = {
            **self.hashes,
            **settings(self.args),
            **settings(self.development, "train_share", "dev_share", "dev_queries", "dev_documents"),
            "start": fingerprint(model),
            "pools": {pool: folder_hash(self.steps / pool) for pool in pools},
            "dev": None if self.dev is None else data_hashes(self.dev),
            "processes": processes().num_processes,
        }
        return self._step(name, inputs, work, everywhere=True)

    def _step(
        self, name: str, inputs: dict[str, Any], work: Callable[[Path], dict[str, Any]], everywhere: bool = False
    ) -> dict[str, Any]:
        return run_step(self.steps / name, inputs, work, overwrite=self.overwrite, everywhere=everywhere)
