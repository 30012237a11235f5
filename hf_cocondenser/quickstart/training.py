"""The trainings of the quickstart, each as long as the clock allows: pre-training stages and fine-tuning."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import MiningConfig
from hf_cocondenser.finetuning.negatives.mining import bm25_pool, mined_pool
from hf_cocondenser.finetuning.retriever_start import load_starting_point
from hf_cocondenser.finetuning.training import RETRIEVER, train_round
from hf_cocondenser.finetuning.training_set import Pool, TrainingSet
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments, ModelOptions, PretrainingStage
from hf_cocondenser.pretraining.pretrain import pretrain
from hf_cocondenser.quickstart.schedule import ENDLESS, TimedSchedule
from hf_cocondenser.quickstart.settings import Settings
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.dense import DenseSearcher
from hf_cocondenser.retrieval.encode import resolve_precision
from hf_cocondenser.utils.distributed import training_device
from hf_cocondenser.utils.steps import SCRATCH

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

LogHistory = list[dict[str, float]]


@dataclass(frozen=True)
class Training:
    """What a training left behind: its result's folder, what it took, and the trainer's log."""

    folder: Path
    steps: int
    seconds: float
    log: LogHistory

    def curve(self, key: str) -> tuple[list[float], list[float]]:
        """The steps and values of one logged number."""
        lines = [line for line in self.log if key in line]
        return [line["step"] for line in lines], [float(line[key]) for line in lines]

    def summary(self) -> dict[str, Any]:
        """Steps, seconds and tokens, for the record."""
        speeds = [line["tokens_per_second"] for line in self.log if "tokens_per_second" in line]
        summary: dict[str, Any] = {"steps": self.steps, "seconds": round(self.seconds, 1)}
        return summary | ({"tokens_per_second": round(sum(speeds) / len(speeds))} if speeds else {})


def pretrain_stage(
    stage: PretrainingStage,
    start: str | Path,
    spans: Path,
    output_dir: Path,
    settings: Settings,
    seconds: float,
    *,
    fresh: bool,
    seed: int,
) -> Training:
    """Run one pre-training stage for `seconds`, counted from the first step on.

    `fresh`: the encoder began with random weights, so its dot products must be scaled.
    """
    device = training_device()
    on_cpu = device.type == "cpu"
    args = CondenserTrainingArguments(
        output_dir=str(output_dir),
        stage=stage,
        grad_cache=False,
        chunk_tokens=settings.chunk_tokens,
        temperature=settings.temperature() if fresh else None,
        per_device_train_batch_size=settings.pretraining_batch,
        learning_rate=settings.condenser_rate if stage == "condenser" else settings.cocondenser_rate,
        max_steps=ENDLESS,
        bf16=resolve_precision("auto", device) == "bfloat16",
        use_cpu=on_cpu,
        seed=seed,
        disable_tqdm=True,
        report_to="none",
        save_strategy="no",
        dataloader_pin_memory=not on_cpu,
    )
    options = ModelOptions(max_length=settings.span_tokens + 2)
    with TimedSchedule(stage, seconds) as schedule:
        pretrain(start, spans, args, options, callbacks=[schedule])
    return Training(output_dir, schedule.steps, schedule.used, schedule.log)


class Finetuning:
    """Fine-tuning from several starting points on the same queries and the same BM25 negatives."""

    def __init__(self, data: RetrievalData, settings: Settings, *, fresh: bool, seed: int) -> None:
        self.args = RetrieverTrainingArguments(
            max_steps=ENDLESS,
            per_device_train_batch_size=min(settings.finetuning_batch, len(data.queries)),
            negatives_per_query=settings.negatives,
            chunk_tokens=settings.chunk_tokens,
            learning_rate=settings.finetuning_rate,
            temperature=settings.temperature() if fresh else None,
            query_length=settings.query_length,
            passage_length=settings.text_length,
            eval_strategy="no",
            save_strategy="no",
            seed=seed,
        )
        self.data = data
        self.bm25, _ = bm25_pool(data, MiningConfig(), seed)

    def mine(self, searcher: DenseSearcher) -> Pool:
        """Negatives for a second round, from the first documents that a retriever finds for the training queries."""
        return mined_pool(searcher, self.data, MiningConfig(), self.args.seed)[0]

    def run(
        self,
        start: str | Path,
        output_dir: Path,
        name: str,
        seconds: float,
        steps: int | None = None,
        mined: Pool | None = None,
    ) -> tuple[Training, SentenceTransformer]:
        """Fine-tune from `start` for `seconds`, or `steps` if these are done earlier; return the retriever, too.

        `mined`: negatives beside BM25\'s, for a second round.
        """
        output_dir.mkdir(parents=True)
        pools = [self.bm25] if mined is None else [self.bm25, mined]
        relevant = self.data.relevant()
        training_set = TrainingSet(
            self.data.queries, self.data.corpus, relevant, pools, self.args.negatives_per_query, self.args.seed
        )
        model = load_starting_point(start, self.args)
        with TimedSchedule(name, seconds, steps) as schedule:
            train_round(model, training_set, None, output_dir, self.args, schedule=schedule)
        shutil.rmtree(output_dir / SCRATCH)
        return Training(output_dir / RETRIEVER, schedule.steps, schedule.used, schedule.log), model
