"""Training and measuring the cells of a study; each is kept, and not done again."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

from hf_cocondenser.data.tokenizer import load_tokenizer, train_wordpiece
from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.lengths import words_of, words_of_hits
from hf_cocondenser.evaluation.systems import depth_needed, measure_run, require_distinct
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import DevelopmentConfig, MiningConfig, PairsConfig, settings
from hf_cocondenser.finetuning.dev import sample_dev
from hf_cocondenser.finetuning.finetune import finetune
from hf_cocondenser.finetuning.fresh_t5 import fresh_inputs, is_fresh_t5, make_fresh_t5
from hf_cocondenser.finetuning.inputs import dev_split
from hf_cocondenser.finetuning.pairs.training import sources_signature
from hf_cocondenser.research.study.plan import Cell, StudyConfig
from hf_cocondenser.retrieval.bm25 import BM25Index
from hf_cocondenser.retrieval.collections.collection import RetrievalData, data_hashes
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
from hf_cocondenser.retrieval.dense import dense_search
from hf_cocondenser.retrieval.retriever import load_retriever
from hf_cocondenser.retrieval.runs import Run
from hf_cocondenser.utils.distributed import processes, wait_for_everyone
from hf_cocondenser.utils.files import read_json, write_json
from hf_cocondenser.utils.hashes import checkpoint_hash
from hf_cocondenser.utils.steps import STEPS, hand_on, run_step

logger = logging.getLogger(__name__)

_RETRIEVER, _VALUES = "retriever", "values.json"

Values = dict[str, dict[str, list[float]]]
"""Data set -> `measure` and `words` (of the first ten hits), query by query."""


class StudyCells:
    """The data of a study and the folder its cells are in.

    Args:
        data: BEIR folder to train on.
        folder: where the cells go.
        config: what to measure on.
        args, mining, pairs, development: how every cell is trained.
        overwrite: do cells again whose inputs changed.

    Raises:
        InputError: data cannot be loaded, or a setting is one that the study itself makes.
    """

    def __init__(
        self,
        data: str | Path,
        folder: Path,
        config: StudyConfig,
        args: RetrieverTrainingArguments,
        mining: MiningConfig,
        pairs: PairsConfig,
        development: DevelopmentConfig,
        overwrite: bool = False,
    ) -> None:
        if pairs.stages != "both" or development.train_share != 1:
            raise InputError("A study sets stages and train_share itself; leave them out (see --ablations, --shares).")
        self.folder = folder
        self.config = config
        self.args = args
        self.mining = mining
        self.pairs = pairs
        self.development = development
        self.overwrite = overwrite
        self.train = load_retrieval_data(data, "train")
        self.dev = dev_split(data, self.train)
        self.evaluation: dict[str, RetrievalData] = {}
        self.in_domain: str | None = None
        for source in config.evaluate_on:
            loaded = load_retrieval_data(source, "auto")
            queries = config.eval_queries or len(loaded.queries)
            loaded = sample_dev(loaded, queries, config.eval_documents, seed=args.seed)
            require_distinct("data sets", [*self.evaluation, loaded.name])
            self.evaluation[loaded.name] = loaded
            if Path(source).resolve() == Path(data).resolve():
                self.in_domain = loaded.name
        self.hashes = {name: data_hashes(loaded) for name, loaded in self.evaluation.items()}

    def train_and_measure(self, cell: Cell) -> tuple[Values, int]:
        """Train a cell and measure it, or find it done; returns its values and the parameters of the retriever."""
        start = self._start(cell)
        development = replace(self.development, train_share=cell.share)
        pairs = replace(self.pairs, stages="pretrain" if cell.variant == "GTR-PT" else "finetune")

        def work(folder: Path) -> dict[str, Any]:
            target = folder / _RETRIEVER
            negatives = self._negatives(cell.share)
            if cell.variant != "GTR-PT" and processes().is_main_process:
                hand_on(negatives, target / STEPS / "bm25")
            wait_for_everyone()
            # What a kill left in here was made from the same inputs, or is begun again.
            options = (self.args, self.mining, pairs, development)
            finetune(start, self.train, target, *options, dev=self.dev, overwrite=True)
            if not processes().is_main_process:
                return {}
            hand_on(target / STEPS / "bm25", negatives)
            retriever = load_retriever(target)
            write_json(folder / _VALUES, {name: self._measure(d, retriever) for name, d in self.evaluation.items()})
            return {"parameters": sum(p.numel() for p in retriever.parameters())}

        inputs = {
            "cell": asdict(cell),
            "start": checkpoint_hash(start),
            "train": data_hashes(self.train),
            "dev": self._dev_hashes(),
            "processes": processes().num_processes,
            "evaluation": self.hashes,
            "measure": self.config.main_measure,
            "finetuning": settings(self.args),
            "development": settings(development),
            "mining": settings(self.mining),
            "pairs": {**settings(pairs), "sources": sources_signature(pairs)} if pairs.pairs else None,
        }
        place = self.folder / cell.name
        manifest = run_step(place, inputs, work, overwrite=self.overwrite, everywhere=True)
        return read_json(place / _VALUES, dict), int(manifest["result"]["parameters"])

    def measure_bm25(self) -> Values:
        """BM25's values, measured or found."""

        def work(folder: Path) -> dict[str, Any]:
            found = {}
            for name, data in self.evaluation.items():
                index = BM25Index.build(data.corpus)
                run = index.search(data.queries, self._depth, exclude_same_id=data.protocol.exclude_same_id)
                found[name] = self._values(data, run)
            write_json(folder / _VALUES, found)
            return {}

        inputs = {"evaluation": self.hashes, "measure": self.config.main_measure}
        run_step(self.folder / "bm25", inputs, work, overwrite=self.overwrite)
        return read_json(self.folder / "bm25" / _VALUES, dict)

    @property
    def _depth(self) -> int:
        return depth_needed([self.config.main_measure], 100)

    def _start(self, cell: Cell) -> str | Path:
        """What a cell starts from: the model, or what its pairs made of it."""
        if cell.variant == "GTR":
            return self.folder / Cell(cell.model, "GTR-PT").name / _RETRIEVER
        if not is_fresh_t5(cell.model):
            return cell.model

        # One tokenizer for all sizes: it depends on the texts alone.
        def train_tokenizer(folder: Path) -> dict[str, Any]:
            texts = chain(self.train.corpus.values(), self.train.queries.values())
            train_wordpiece(texts, self.args.vocabulary).save_pretrained(folder)
            return {}

        def make(folder: Path) -> dict[str, Any]:
            documents = list(self.train.corpus.values())
            make_fresh_t5(cell.model, load_tokenizer(tokenizer), documents, folder / "encoder", self.args)
            return {}

        tokenizer = self.folder / "tokenizer"
        inputs = {"train": data_hashes(self.train), "vocabulary": self.args.vocabulary}
        run_step(tokenizer, inputs, train_tokenizer, overwrite=self.overwrite)
        place = self.folder / f"start-{cell.model.removeprefix('t5:')}"
        made_from = fresh_inputs(cell.model, data_hashes(self.train), self.args)
        run_step(place, made_from, make, overwrite=self.overwrite)
        return place / "encoder"

    def _negatives(self, share: float) -> Path:
        """Where BM25's negatives of a share are kept for the next model; another corpus or setting has another place."""
        parts = [data_hashes(self.train), self.mining.bm25_depth, self.mining.bm25_negatives, self.args.seed]
        parts += [self.development.dev_share, self.development.dev_queries, self._dev_hashes()]
        return self.folder / "negatives" / f"{share:g}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:8]}"

    def _dev_hashes(self) -> dict[str, str] | str:
        """What chooses a cell's checkpoint; without development queries of its own, training queries are held out."""
        if not self.args.measures:
            return "none"
        return "held out" if self.dev is None else data_hashes(self.dev)

    def _measure(self, data: RetrievalData, retriever: Any) -> dict[str, list[float]]:
        precision = "auto" if self.args.fp16 else self.args.precision
        run = dense_search(
            retriever,
            data.queries,
            data.corpus,
            self._depth,
            exclude_same_id=data.protocol.exclude_same_id,
            precision=precision,
            show_progress=True,
        )
        return self._values(data, run)

    def _values(self, data: RetrievalData, run: Run) -> dict[str, list[float]]:
        measure = self.config.main_measure
        per_query = measure_run(data, run, [measure]).per_query
        return {"measure": [per_query[query][measure] for query in data.qrels], "words": words_of_hits(data, run)}


def corpus_words(data: RetrievalData) -> dict[str, Sequence[float]]:
    """Words of all documents, and of the relevant ones as often as they are relevant."""
    relevant = [document for documents in data.relevant().values() for document in documents]
    return {"corpus": words_of(data, data.corpus), "relevant": words_of(data, relevant)}
