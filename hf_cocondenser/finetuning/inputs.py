"""What fine-tuning is given, a model and data by name or in memory, as the steps use it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from hf_cocondenser.data.reading.columns import Columns
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import DevelopmentConfig
from hf_cocondenser.finetuning.dev import hold_out, sample_dev, sample_queries
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
from hf_cocondenser.utils.distributed import on_first

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

Source: TypeAlias = str | Path | RetrievalData
Model: TypeAlias = Union[str, Path, "SentenceTransformer", "PreTrainedModel"]

_GIVEN = "given"


def written_model(model: Model, tokenizer: PreTrainedTokenizerBase | None, steps: Path) -> str | Path:
    """The name of a model, or the folder under `steps` where one that is given as an object is written.

    Raises:
        InputError: it is none, or a transformers model comes without its tokenizer.
    """
    from sentence_transformers import SentenceTransformer

    if isinstance(model, str | Path):
        return model
    folder = steps / _GIVEN
    if isinstance(model, SentenceTransformer):
        on_first(lambda: model.save_pretrained(str(folder), create_model_card=False))
        return folder
    if not hasattr(model, "save_pretrained") or not hasattr(model, "config"):
        raise InputError(
            f"The model is a {type(model).__name__}; give a name, a SentenceTransformer or a transformers model."
        )
    if tokenizer is None:
        raise InputError("A transformers model needs its tokenizer; give it as tokenizer=...")

    def write() -> None:
        model.save_pretrained(str(folder))
        tokenizer.save_pretrained(str(folder))

    on_first(write)
    return folder


def read_training_data(
    data: Source | Sequence[Source],
    dev: Source | None,
    args: RetrieverTrainingArguments,
    development: DevelopmentConfig,
    columns: Columns | None = None,
) -> tuple[RetrievalData, RetrievalData | None]:
    """Training queries, and development queries where they are wanted.

    Args:
        data: one or several data sets.
        dev: development queries; by default the data's own, or held-out training queries.
        args: whether the development set is measured.
        development: how many queries and documents.
        columns: of documents and queries.

    Raises:
        InputError: a data set cannot be read, or has no relevant document.
    """
    sources = [data] if isinstance(data, str | Path | RetrievalData) else list(data)
    if not sources:
        raise InputError("There is no data to fine-tune on; name a data set.")
    parts = [
        source if isinstance(source, RetrievalData) else load_retrieval_data(source, "train", columns=columns)
        for source in sources
    ]
    for part in parts:
        if not part.relevant():
            raise InputError(f"No training query of '{part.name}' has a document judged above 0.")
    train = parts[0] if len(parts) == 1 else joined(parts)
    if not args.measures:
        return sample_queries(train, development.train_share, args.seed), None
    if dev is not None:
        dev = dev if isinstance(dev, RetrievalData) else load_retrieval_data(dev, "dev", columns=columns)
    else:
        found = [dev_split(source, part, columns) for source, part in zip(sources, parts, strict=True)]
        own = [part for part in found if part is not None]
        if len(own) == len(sources):
            dev = own[0] if len(own) == 1 else joined(own)
    origin = "given" if dev is not None else "held out"
    if dev is None:
        train, dev = hold_out(train, development.dev_share, development.dev_queries, args.seed)
    train = sample_queries(train, development.train_share, args.seed)
    if dev is not None:
        dev = sample_dev(dev, development.dev_queries, development.dev_documents, args.seed)
        logger.info("Development set (%s): %d queries over %d documents.", origin, len(dev.queries), len(dev.corpus))
    return train, dev


def joined(parts: Sequence[RetrievalData]) -> RetrievalData:
    """Several data sets as one: every id gets its data set's number in front."""
    merged: dict[str, dict[str, Any]] = {"corpus": {}, "queries": {}, "qrels": {}, "titles": {}}
    for number, part in enumerate(parts):
        for name in ("corpus", "queries", "titles"):
            merged[name] |= {f"{number}/{key}": text for key, text in getattr(part, name).items()}
        for query, judged in part.qrels.items():
            merged["qrels"][f"{number}/{query}"] = {f"{number}/{key}": grade for key, grade in judged.items()}
    named = " + ".join(part.name for part in parts)
    return RetrievalData(named, parts[0].split, merged["corpus"], merged["queries"], merged["qrels"], merged["titles"])


def dev_split(
    source: str | Path | RetrievalData, train: RetrievalData, columns: Columns | None = None
) -> RetrievalData | None:
    """The development queries of a BEIR folder, over the corpus of `train`, if it has any.

    A split that published figures are of (MS MARCO's is called dev) is a test split and is never looked at.
    """
    if isinstance(source, RetrievalData):
        return None
    for split in ("dev", "validation"):
        if split != train.protocol.split and (Path(source) / "qrels" / f"{split}.tsv").is_file():
            return replace(load_retrieval_data(source, split, columns=columns), corpus=train.corpus)
    return None
