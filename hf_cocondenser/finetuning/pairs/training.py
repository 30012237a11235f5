"""The stage on pairs: GTR's pre-training, contrastive training on a stream of questions and answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from hf_cocondenser.data.reading.files import find_files
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import PairsConfig
from hf_cocondenser.finetuning.dev import DevEvaluator
from hf_cocondenser.finetuning.lora import merge_lora
from hf_cocondenser.finetuning.pairs.sources import Pair, mixed_pairs, open_pairs, parse_source, shares
from hf_cocondenser.finetuning.pairs.stream import PairBatches
from hf_cocondenser.finetuning.temperature import calibrated_temperature
from hf_cocondenser.finetuning.trainer import PairTrainer
from hf_cocondenser.finetuning.training import (
    optimizer,
    prepare_training,
    round_arguments,
    same_everywhere,
    save_trained,
)
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.encode import encode_texts
from hf_cocondenser.utils.distributed import processes
from hf_cocondenser.utils.progress import fit_to_output
from hf_cocondenser.utils.records import file_hash
from hf_cocondenser.utils.steps import SCRATCH
from hf_cocondenser.utils.trainer_checkpoints import last_checkpoint, trainer_state

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

_SAMPLE = 256


def train_on_pairs(
    model: SentenceTransformer,
    pairs: PairsConfig,
    dev: RetrievalData | None,
    folder: Path,
    args: RetrieverTrainingArguments,
    dev_measure: str = "nDCG@10",
) -> dict[str, Any]:
    """Train `model` in `folder`, going on from the last checkpoint there, and write it to `folder/retriever`.

    Every pair's negatives are the answers of the other pairs of the global batch. The last weights are kept, as in the
    paper; `dev` is measured on the way.

    Returns:
        What is worth recording: temperature, steps, pairs seen, the last development measures, the weights' hash.

    Raises:
        InputError: the pairs cannot be read or mixed.
    """
    args = args.changed(
        max_steps=pairs.pairs_steps,
        per_device_train_batch_size=pairs.pairs_batch_size or args.per_device_train_batch_size,
        learning_rate=pairs.pairs_learning_rate or args.learning_rate,
    )
    torch.manual_seed(args.seed)
    stream = open_stream(pairs, args.seed)
    temperature = same_everywhere(args, lambda: _calibrated(model, stream))
    loss = prepare_training(model, temperature, args)
    state = processes()
    batches = PairBatches(model, stream, args.train_batch_size, state.process_index, state.num_processes)
    evaluator = DevEvaluator(dev, dev_measure) if dev is not None and args.measures else None
    arguments = round_arguments(args, folder / SCRATCH, None, evaluator)
    arguments.load_best_model_at_end = False
    checkpoint = last_checkpoint(folder / SCRATCH)
    if checkpoint is not None:
        batches.start = trainer_state(checkpoint)["global_step"] * args.gradient_accumulation_steps
    trainer = PairTrainer(model, arguments, batches, loss, evaluator, optimizer(args))
    fit_to_output(trainer)
    trainer.train(resume_from_checkpoint=checkpoint)
    steps = trainer.state.global_step
    result: dict[str, Any] = {
        "temperature": temperature,
        "steps": steps,
        "pairs": steps * args.gradient_accumulation_steps * args.train_batch_size * state.num_processes,
    }
    if trainer.is_world_process_zero():
        if evaluator is not None:
            key = f"eval_{evaluator.primary_metric}"
            measured = [line for line in trainer.state.log_history if key in line][-1]
            result["dev"] = {name: measured[f"eval_dev_{name}"] for name in evaluator.measures}
        if args.lora_rank:
            merge_lora(model)
        result["model_hash"] = save_trained(model, folder)
    return result


def open_stream(pairs: PairsConfig, seed: int) -> Callable[[], Iterator[Pair]]:
    """Open the sources; what is returned gives their mixture from its start.

    Raises:
        InputError: a source cannot be read, or the sources cannot be mixed.
    """
    columns = {name: getattr(pairs, name) for name in ("query_column", "positive_column", "negative_column")}
    several = len(pairs.pairs) > 1
    sources = [open_pairs(text, **columns, buffer=pairs.pairs_buffer, count=several) for text in pairs.pairs]
    shares(sources, pairs.pairs_mixing)  # refuses sources that cannot be mixed before a model is trained
    return lambda: mixed_pairs(sources, pairs.pairs_mixing, seed)


def sources_signature(pairs: PairsConfig) -> list[list[Any]]:
    """Names of the sources and hashes of their files, by which a changed source is noticed."""
    found = []
    for text in pairs.pairs:
        name, _ = parse_source(text)
        folder = Path(name)
        if (folder / "qrels" / "train.tsv").is_file():
            files = [*sorted(folder.glob("*.jsonl*")), folder / "qrels" / "train.tsv"]
        elif folder.exists():
            files = find_files(name) or []
        else:
            files = []
        found.append([name, [file_hash(file) for file in files]])
    return found


def _calibrated(model: SentenceTransformer, stream: Callable[[], Iterator[Pair]]) -> float:
    """The temperature that calibrates the starting point on the first pairs; see `calibrated_temperature`."""
    questions, answers, _ = zip(*islice(stream(), _SAMPLE), strict=True)
    vectors = [
        torch.from_numpy(encode_texts(model, questions, kind="query")),
        torch.from_numpy(encode_texts(model, answers, kind="document")),
    ]
    if model.similarity_fn_name == "cosine":
        vectors = [F.normalize(part, dim=-1) for part in vectors]
    return calibrated_temperature(*vectors)
