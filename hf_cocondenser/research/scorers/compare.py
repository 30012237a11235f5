"""`compare_scorers`: train every scorer alike, rank the same queries with each, and write one table."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.systems import depth_needed
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import settings
from hf_cocondenser.finetuning.dev import restrict, sample_queries
from hf_cocondenser.finetuning.finetune import finetune
from hf_cocondenser.finetuning.negatives.pools import read_pool
from hf_cocondenser.finetuning.retriever_start import load_starting_point
from hf_cocondenser.finetuning.rounds import BM25, NEGATIVES, bm25_step
from hf_cocondenser.finetuning.training_set import TrainingSet
from hf_cocondenser.research.scorers.baseline import bm25_search
from hf_cocondenser.research.scorers.config import ScorersConfig, training_of
from hf_cocondenser.research.scorers.kinds import TRAINED_HERE, load_scorer
from hf_cocondenser.research.scorers.scoring import DocumentVectors, rescore, search_exactly
from hf_cocondenser.research.scorers.table import MEASURES, Row, machine, write_comparison
from hf_cocondenser.research.scorers.training import train_scorer
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
from hf_cocondenser.retrieval.retriever import fingerprint
from hf_cocondenser.retrieval.runs import Run, ranked, read_run, require_run_ids, without_same_ids, write_run
from hf_cocondenser.utils.distributed import alone_in_its_folder, local_device
from hf_cocondenser.utils.files import require_new_folder
from hf_cocondenser.utils.hashes import hash_texts
from hf_cocondenser.utils.steps import STEPS, hand_on, run_step

logger = logging.getLogger(__name__)

MODELS, RUNS = "models", "runs"


@alone_in_its_folder
def compare_scorers(
    checkpoint: str | Path,
    data: str | Path,
    output_dir: str | Path,
    config: ScorersConfig | None = None,
    args: RetrieverTrainingArguments | None = None,
    *,
    split: str | None = None,
    overwrite: bool = False,
) -> str:
    """Train scorers from one checkpoint on one data set's training queries and compare them on its test queries.

    Called again after a kill it goes on with the scorer where it stopped; what is done with the same inputs is not
    done again.

    Args:
        checkpoint: plain encoder checkpoint, Condenser pre-training checkpoint or sentence-transformers model.
        data: BEIR folder with judgements to train on (train) and to measure on (test).
        output_dir: folder for models, runs, the report, and the table as comparison.md and comparison.json.
        config: scorers and what is ranked.
        args: the training of each scorer.
        split: judgements to measure on (default: the data set's own, mostly test).
        overwrite: do again what was done with other inputs.

    Returns:
        The table in Markdown.

    Raises:
        InputError: the checkpoint, the data or the candidates cannot be used, or something was done before with other
            inputs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("Scorers are compared in one process; start the command without torchrun.")
    config, args = config or ScorersConfig(), args or RetrieverTrainingArguments(per_device_train_batch_size=32)
    output_dir = Path(output_dir)
    if not (output_dir / RUNS).is_dir():
        require_new_folder(output_dir, overwrite, reads=[checkpoint, data, config.candidates])
    test = _test_queries(load_retrieval_data(data, split or "auto"), config.test_queries, args.seed)
    require_run_ids(test.queries, test.corpus)
    train = load_retrieval_data(data, "train")
    if not train.relevant():
        raise InputError(f"No training query of '{train.name}' has a document judged above 0.")
    train = sample_queries(train, config.train_share, args.seed)
    candidates = None if config.candidates == "bm25" else _candidates(config.candidates, test)
    return _Comparison(checkpoint, train, test, candidates, output_dir, config, args, overwrite).run()


class _Comparison:
    def __init__(
        self,
        checkpoint: str | Path,
        train: RetrievalData,
        test: RetrievalData,
        candidates: Run | None,
        output_dir: Path,
        config: ScorersConfig,
        args: RetrieverTrainingArguments,
        overwrite: bool,
    ) -> None:
        self.checkpoint = checkpoint
        self.train = train
        self.test = test
        self.candidates = candidates
        self.output_dir = output_dir
        self.config = config
        self.args = args
        self.overwrite = overwrite
        self.negatives = output_dir / "negatives"
        # Where the corpus is ranked, the measures need their own depth, however few candidates are scored again.
        self.depth = depth_needed(MEASURES, config.depth)
        self.ranked = {"corpus": test.corpus_hash(), "queries": hash_texts(test.queries.items())}

    def run(self) -> str:
        rows = [self._bm25()]
        candidates, source = rows[0].run, f"BM25's first {self.config.depth}"
        if self.candidates is not None:
            candidates, source = self.candidates, f"{Path(self.config.candidates).stem}'s first {self.config.depth}"
        negatives = bm25_step(self.negatives, self.train, self.config.mining("dense"), self.args.seed, self.overwrite)
        for name in self.config.scorers:
            model = self._train(name, negatives["inputs"])
            rows += self._rank(name, model, candidates, source)
        return write_comparison(
            self.output_dir, self.test, rows, {**settings(self.args), **asdict(self.config), "scored": source}
        )

    def _bm25(self) -> Row:
        def work(folder: Path) -> dict[str, Any]:
            variant, run, milliseconds, size = bm25_search(self.test, self.depth)
            write_run(folder / "exact.trec", run, tag="BM25")
            return {"variant": variant, "milliseconds": milliseconds, "bytes": size, "machine": machine()}

        folder = self.output_dir / RUNS / "bm25"
        result = self._step(folder, {**self.ranked, "depth": self.depth}, work)["result"]
        run = read_run(folder / "exact.trec")
        return Row(result["variant"], "the corpus", run, result["milliseconds"], result["bytes"], result["machine"])

    def _train(self, name: str, negatives: Mapping[str, Any]) -> Path:
        """Where the trained scorer is; `negatives` tells what BM25's were drawn from."""
        folder = self.output_dir / MODELS / name
        logger.info("%s", name)
        training = training_of(name, self.args)
        if name not in TRAINED_HERE:
            hand_on(self.negatives, folder / STEPS / BM25)
            mining = self.config.mining(name)
            finetune(self.checkpoint, self.train, folder, training, mining, overwrite=self.overwrite)
            return folder
        start = load_starting_point(self.checkpoint, training)
        sizes = self.config.own_settings(name)

        def work(partial: Path) -> dict[str, Any]:
            torch.manual_seed(training.seed)
            training_set = TrainingSet(
                self.train.queries,
                self.train.corpus,
                self.train.relevant(),
                [read_pool(self.negatives / NEGATIVES)],
                training.negatives_per_query,
                training.seed,
            )
            return train_scorer(TRAINED_HERE[name].from_retriever(start, **sizes), training_set, partial, training)

        inputs = {**negatives, **settings(training), **sizes, "start": fingerprint(start)}
        self._step(folder, inputs, work)
        return folder

    def _rank(self, name: str, model: Path, candidates: Run, source: str) -> list[Row]:
        """Runs, times and sizes of one scorer: of the candidates scored again, and of the corpus where it is cheap."""
        depth, test = self.config.depth, self.test
        scorer = load_scorer(model, device=local_device())
        exact = len(test.queries) * len(test.corpus) <= self.config.exact_pairs
        chosen = {q: dict(ranked(candidates.get(q, {}), depth)) for q in test.queries}

        def work(folder: Path) -> dict[str, Any]:
            needed = {document for hits in chosen.values() for document in hits}
            corpus = {d: text for d, text in test.corpus.items() if exact or d in needed}
            documents = DocumentVectors.encode(scorer, corpus, show_progress=True)
            result: dict[str, Any] = {
                "bytes": documents.bytes_per_document(scorer.stores_keys),
                "milliseconds": {},
                "machine": machine(),
            }
            ways: dict[str, Callable[[], tuple[Run, list[float]]]] = {
                "rescored": lambda: rescore(scorer, test.queries, chosen, documents, depth)
            }
            if exact:
                more = self.depth + test.protocol.exclude_same_id
                ways["exact"] = lambda: search_exactly(scorer, test.queries, documents, more)
            for way, rank in ways.items():
                run, seconds = rank()
                run = without_same_ids(run) if test.protocol.exclude_same_id else run
                write_run(folder / f"{way}.trec", run, tag=name)
                result["milliseconds"][way] = 1000 * float(np.median(seconds))
            return result

        inputs = {
            "model": fingerprint(scorer),
            **self.ranked,
            "candidates": hash_texts((query, repr(sorted(hits))) for query, hits in chosen.items()),
            "depth": depth,
            "exact": self.depth if exact else None,
        }
        result = self._step(self.output_dir / RUNS / name, inputs, work)["result"]
        what = {"rescored": source, "exact": "the corpus"}
        return [
            Row(
                name,
                what[way],
                read_run(self.output_dir / RUNS / name / f"{way}.trec"),
                time,
                result["bytes"],
                result["machine"],
            )
            for way, time in result["milliseconds"].items()
        ]

    def _step(self, folder: Path, inputs: Mapping[str, Any], work: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return run_step(folder, dict(inputs), work, overwrite=self.overwrite)


def _candidates(path: str, test: RetrievalData) -> Run:
    run = read_run(path)
    if test.protocol.exclude_same_id:
        run = without_same_ids(run)
    unknown = next(
        (document for q in test.queries for document in run.get(q, {}) if document not in test.corpus), None
    )
    if unknown is not None:
        raise InputError(f"The run '{path}' names the document '{unknown}', which '{test.name}' does not have.")
    if not run.keys() & test.queries.keys():
        raise InputError(f"The run '{path}' answers none of the test queries of '{test.name}'.")
    return run


def _test_queries(test: RetrievalData, most: int | None, seed: int) -> RetrievalData:
    judged = list(test.queries)
    if most is None or most >= len(judged):
        return test
    chosen = sorted(np.random.default_rng(seed).permutation(len(judged))[:most].tolist())
    return restrict(test, [judged[i] for i in chosen])
