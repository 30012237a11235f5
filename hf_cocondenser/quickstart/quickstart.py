"""`run_quickstart`: from raw documents to an evaluated retriever, by the same functions as the other commands."""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import set_seed

from hf_cocondenser.data.cutting import SpanOptions
from hf_cocondenser.data.documents import load_documents
from hf_cocondenser.data.prepare import prepare_spans
from hf_cocondenser.data.tokenizer import load_tokenizer, train_wordpiece
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.training_set import Pool
from hf_cocondenser.hub.export import save_retriever
from hf_cocondenser.pretraining.arguments import PretrainingStage
from hf_cocondenser.pretraining.run import require_seed
from hf_cocondenser.quickstart.collection import build_collection
from hf_cocondenser.quickstart.report import (
    Figures,
    Result,
    differences_of,
    format_answers,
    measure,
    plot_losses,
    write_page,
)
from hf_cocondenser.quickstart.settings import default_minutes, settings_for
from hf_cocondenser.quickstart.threads import fastest_threads
from hf_cocondenser.quickstart.training import Finetuning, Training, pretrain_stage
from hf_cocondenser.quickstart.untrained import save_initial_checkpoint, save_random_weights
from hf_cocondenser.retrieval.bm25 import BM25Index
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
from hf_cocondenser.retrieval.dense import DenseSearcher
from hf_cocondenser.retrieval.fusion import reciprocal_rank_fusion
from hf_cocondenser.retrieval.retriever import load_retriever
from hf_cocondenser.retrieval.runs import Run, write_run
from hf_cocondenser.utils.distributed import alone_in_its_folder, training_device
from hf_cocondenser.utils.files import require_new_folder, write_json, write_text

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "cocondenser-tiny"
SHORTEST_MINUTES = 1.0
START_AND_END = 20  # seconds for imports, plots and files
# A machine may be slower the second time; fine-tuning is cut short then, searching cannot be.
TUNING_SLACK, SEARCH_SLACK = 1.1, 1.4
MINING_SLACK = 2.0  # searches; what mining takes, beside the search of the test queries
UNTRAINED, PRETRAINED = "untrained start", "pre-trained, no labels"
TUNED_ONLY, BOTH = "fine-tuned, not pre-trained", "fine-tuned, pre-trained"
RANDOM, ADAPTED, FUSED = "random weights", "{} adapted", "BM25 + dense, fused"
NO_LABELS, TUNED, SECOND_ROUND = "{}, no labels", "{}, fine-tuned", "{}, second round"
DEMO = {
    "1": "read a table from a csv file",
    "2": "shortest path between two nodes of a graph",
    "3": "solve a system of linear equations",
}


@alone_in_its_folder
def run_quickstart(
    output_dir: str | Path,
    *,
    minutes: float | None = None,
    model: str | Path | None = DEFAULT_MODEL,
    beside: Mapping[str, str | Path] | None = None,
    corpus: str | Path | None = None,
    seed: int = 42,
) -> dict[str, Any]:
    """Make and evaluate a retriever in a few minutes; returns what `output_dir`'s results.json holds.

    Args:
        output_dir: a new folder; removed again when something fails or is interrupted.
        minutes: for everything; by default 10 on a CPU and 2 on a GPU.
        model: the pre-trained weights to adapt (a Hub id, a folder or a shipped checkpoint); None trains a small BERT
            from scratch.
        beside: names of other checkpoints to fine-tune in the same way, for the table (a twin of plain MLM, say).
        corpus: own documents, as `load_documents` takes them; by default the installed packages' documentation.
        seed: of the training; the collection and its splits are always the same.

    Raises:
        InputError: the documents or a model cannot be used, the folder is there already, a name or the seed cannot be
            used, or the time is too short.
    """
    minutes = default_minutes() if minutes is None else minutes
    if minutes < SHORTEST_MINUTES:
        raise InputError(f"{minutes:g} minutes are too short; give the quickstart {SHORTEST_MINUTES:g} or more.")
    if beside and model is None:
        raise InputError("Other checkpoints can stand beside pre-trained weights only, not beside --from-scratch.")
    require_seed(seed)
    own = Path(str(model)).name
    taken = {_file_name(name) for name in (RANDOM, own, ADAPTED.format(own))}
    for name in beside or {}:
        if _file_name(name) in taken or not re.fullmatch(r"[\w .-]+", name):
            raise InputError(f"'{name}' cannot stand beside '{model}': give it a name of its own, letters and digits.")
        taken.add(_file_name(name))
    for checkpoint in [model, *(beside or {}).values()]:
        if checkpoint is not None:
            load_tokenizer(checkpoint)  # one that is not there shows at once
    folder = require_new_folder(output_dir, remedy="delete it")
    set_seed(seed)
    with _removed_on_failure(folder), fastest_threads():
        return Quickstart(folder, 60 * minutes, model, corpus, seed, beside).run()


@contextmanager
def _removed_on_failure(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _file_name(name: str) -> str:
    """What the files of a line of the table are called."""
    return "-".join(name.replace(",", "").split())


class Quickstart:
    """One run: its folder, its clock, and what was made so far."""

    def __init__(
        self,
        folder: Path,
        seconds: float,
        model: str | Path | None,
        corpus: str | Path | None,
        seed: int,
        beside: Mapping[str, str | Path] | None = None,
    ) -> None:
        self.folder = folder
        self.model = model
        self.beside = dict(beside or {})
        self.corpus = corpus
        self.seed = seed
        self.fresh = model is None
        self.settings = settings_for(model)
        self.started = time.perf_counter()
        self.deadline = self.started + seconds - START_AND_END
        self.results: list[Result] = []
        self.stages: dict[str, Training] = {}
        self.finetunings: dict[str, Training] = {}

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.perf_counter()

    def run(self) -> dict[str, Any]:
        """Do all of it; return what results.json holds."""
        collection = self.folder / "collection"
        counts = build_collection(collection, self.corpus, most=self.settings.texts, processes=os.cpu_count() or 1)
        self.test = load_retrieval_data(collection, "test")
        start = self._prepare(collection)
        bm25 = self._add("BM25", BM25Index.build(self.test.corpus).search(self.test.queries))
        self.tuner = Finetuning(
            load_retrieval_data(collection, "train"), self.settings, fresh=self.fresh, seed=self.seed
        )
        way = self._from_scratch if self.fresh else self._from_weights
        dense, search, differences = way(start)
        fused = self._add(FUSED, reciprocal_rank_fusion([bm25.run, dense.run]))
        shutil.copytree(self.finetunings[dense.name].folder, self.folder / "retriever")
        differences |= differences_of((dense, bm25), (fused, bm25), (fused, dense))
        return self._finish(counts, differences, search)

    def _from_scratch(self, start: str | Path) -> tuple[Result, DenseSearcher, dict[str, Figures]]:
        """An encoder that only knows its corpus, without and with pre-training; the last retriever and differences."""
        # The baseline comes first: it shows what fine-tuning and searching take, so that pre-training gets the rest.
        length = self.settings.text_length
        unpretrained = save_retriever(start, self.folder / "random", max_length=length)
        untrained, _ = self._search(UNTRAINED, load_retriever(unpretrained))
        baseline, _, searching = self._first_tuning(unpretrained, TUNED_ONLY)
        tuning = self.finetunings[baseline.name]
        checkpoint = self._pretrain(start, self.left() - 2 * searching - TUNING_SLACK * tuning.seconds)
        encoder = save_retriever(checkpoint, self.folder / "encoder", max_length=length)
        pretrained, _ = self._search(PRETRAINED, load_retriever(encoder))
        dense, search = self._tune_and_search(encoder, BOTH, self.left() - searching, tuning.steps)
        return dense, search, differences_of((pretrained, untrained), (dense, baseline))

    def _from_weights(self, start: str | Path) -> tuple[Result, DenseSearcher, dict[str, Figures]]:
        """Pre-trained weights beside random ones, as they are and adapted; then a second round."""
        name, length = Path(start).name, self.settings.text_length
        random = save_random_weights(start, self.folder / "random", self.seed)
        baseline, _, searching = self._first_tuning(random, TUNED.format(RANDOM))
        tuning = self.finetunings[baseline.name]
        tuned: dict[str, Result] = {}
        for other, checkpoint in {**self.beside, name: start}.items():
            limit = TUNING_SLACK * tuning.seconds
            tuned[other], _ = self._tune_and_search(checkpoint, TUNED.format(other), limit, tuning.steps)
        # What is left after two more fine-tunings, their searches, that of the adapted model and mining is for adapting.
        rest = 2 * TUNING_SLACK * tuning.seconds + (3 + MINING_SLACK) * searching
        adapted = self._pretrain(start, self.left() - rest)
        encoder = save_retriever(adapted, self.folder / "encoder", max_length=length)
        name = ADAPTED.format(name)
        self._search(NO_LABELS.format(name), load_retriever(encoder))
        limit = TUNING_SLACK * tuning.seconds
        first, search = self._tune_and_search(encoder, TUNED.format(name), limit, tuning.steps)
        mined = self.tuner.mine(search)
        second, search = self._tune_and_search(
            encoder, SECOND_ROUND.format(name), self.left() - searching, tuning.steps, mined
        )
        pairs = [(result, baseline) for result in (*tuned.values(), first)]
        pairs += [(tuned[Path(start).name], tuned[other]) for other in self.beside]
        return second, search, differences_of(*pairs, (first, tuned[Path(start).name]), (second, first))

    def _first_tuning(self, start: str | Path, name: str) -> tuple[Result, DenseSearcher, float]:
        """Fine-tune for a share of the time that is left, and search; also the seconds to set aside for a search."""
        before = time.perf_counter()
        result, search = self._tune_and_search(start, name, self.settings.finetuning_share * self.left())
        return result, search, SEARCH_SLACK * (time.perf_counter() - before - self.finetunings[name].seconds)

    def _prepare(self, collection: Path) -> str | Path:
        """Tokenise the documents; return what pre-training starts from."""
        options = SpanOptions(
            target_tokens=self.settings.span_tokens,
            min_tokens=self.settings.shortest_span,
            short_share=1.0,
            title="ignore",
            seed=self.seed,
        )
        if self.model is None:
            logger.info("Training a WordPiece tokenizer of %s tokens.", f"{self.settings.vocabulary:,}")
            tokenizer = train_wordpiece(self.test.corpus.values(), self.settings.vocabulary)
        else:
            tokenizer = load_tokenizer(self.model)
        spans = self.folder / "spans"
        prepare_spans(
            load_documents(collection / "documents.jsonl"), tokenizer, spans, options, num_proc=os.cpu_count() or 1
        )
        if self.model is not None:
            return self.model
        start = self.folder / "start"
        save_initial_checkpoint(start, tokenizer, spans, self.settings, self.seed)
        return start

    def _pretrain(self, start: str | Path, seconds: float) -> str | Path:
        first = self.settings.condenser_share
        shares: dict[PretrainingStage, float] = {"condenser": first, "cocondenser": 1 - first}
        for stage, share in shares.items():
            if share:
                spans, target, limit = self.folder / "spans", self.folder / stage, max(share * seconds, 1.0)
                self.stages[stage] = pretrain_stage(
                    stage, start, spans, target, self.settings, limit, fresh=self.fresh, seed=self.seed
                )
                start = target
        return start

    def _tune_and_search(
        self, start: str | Path, name: str, seconds: float, steps: int | None = None, mined: Pool | None = None
    ) -> tuple[Result, DenseSearcher]:
        folder = self.folder / "finetuning" / _file_name(name)
        self.finetunings[name], model = self.tuner.run(start, folder, name, max(seconds, 1.0), steps, mined)
        return self._search(name, model)

    def _search(self, name: str, model: SentenceTransformer) -> tuple[Result, DenseSearcher]:
        search = DenseSearcher.build(model, self.test.corpus, show_progress=True)
        return self._add(name, search.search(self.test.queries)), search

    def _add(self, name: str, run: Run) -> Result:
        """Measure a run on the held-out queries and keep it."""
        result = measure(name, self.test, run)
        (self.folder / "runs").mkdir(exist_ok=True)
        write_run(self.folder / "runs" / f"{_file_name(name)}.trec", run)
        logger.info("%s: %s", name, ", ".join(f"{m} {figure['mean']:.3f}" for m, figure in result.figures.items()))
        self.results.append(result)
        return result

    def _finish(self, counts: dict[str, Any], differences: dict[str, Any], search: DenseSearcher) -> dict[str, Any]:
        """Write curves and results; put the table, the answers and the way on into the record."""
        plot_losses(self.folder / "losses.png", self.stages, self.finetunings)
        asked = DEMO if self.corpus is None else dict(list(self.test.queries.items())[:3])
        record = {
            "collection": counts,
            "table": {result.name: result.figures for result in self.results},
            "differences": differences,
            "trainings": {name: run.summary() for name, run in (self.stages | self.finetunings).items()},
            "settings": asdict(self.settings),
            "seed": self.seed,
            "device": f"cpu, {torch.get_num_threads()} threads"
            if training_device().type == "cpu"
            else training_device().type,
            "seconds": round(time.perf_counter() - self.started, 1),
        }
        write_json(self.folder / "results.json", record)
        answers = format_answers(asked, search.search(asked, 3), self.test.corpus)
        write_text(self.folder / "README.md", write_page(self.folder, self.results, differences, answers, record))
        return record
