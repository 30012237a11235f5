"""`mine_hard_negatives`: a data set with hard negatives for the losses of sentence-transformers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.config import MiningConfig
from hf_cocondenser.finetuning.inputs import Source, joined
from hf_cocondenser.finetuning.negatives.cross_encoder import load_cross_encoder
from hf_cocondenser.finetuning.negatives.mining import bm25_pool, mined_pool
from hf_cocondenser.finetuning.training_set import TrainingSet
from hf_cocondenser.retrieval.collections.loading import load_data_sets
from hf_cocondenser.retrieval.dense import DenseSearcher
from hf_cocondenser.retrieval.retriever import load_retriever

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

BM25 = "bm25"


def mine_hard_negatives(
    model: str | Path | SentenceTransformer,
    data: Source | Sequence[Source],
    negatives: int = 5,
    *,
    depth: int = 200,
    sampling: Literal["random", "top", "simans"] = "random",
    margin: float | None = None,
    cross_encoder: str | None = None,
    negative_below: float = 0.1,
    labels: bool = False,
    seed: int = 42,
) -> Dataset:
    """Mine hard negatives: passages that a retriever ranks high for a query and that are not relevant.

    A negative is never a relevant passage, nor one whose text equals that of a relevant passage, of the query or of
    another negative of the query. Nothing is written.

    Args:
        model: the retriever, loaded or by name; or `bm25`.
        data: queries, documents and judgements: `RetrievalData`, or a source of `load_retrieval_data` (its split
            `train`); one or several.
        negatives: hard negatives of each row. Queries for which fewer are found are left out, with a warning.
        depth: negatives are drawn from the retriever's first so many documents.
        sampling: how they are drawn: `random`, `top` (the hardest), or `simans` (near the positive's score).
        margin: drop passages that score above (1 - margin) times the positive, such as 0.05.
        cross_encoder: name of a cross-encoder; passages are dropped unless it finds them irrelevant.
        negative_below: irrelevant is what it gives less than this probability.
        labels: add the column `label`, by which `MaskedContrastiveLoss` leaves other queries' relevant passages out.
        seed: of the draws.

    Returns:
        One row for each query and relevant passage, with the columns `anchor`, `positive`, `negative_1`, ...,
        `negative_n`, as `MultipleNegativesRankingLoss` and its siblings take them.

    Raises:
        InputError: model or data cannot be used, an option is out of its range or unused, or no query has enough
            negatives.

    Example:
        >>> from hf_cocondenser import RetrievalData
        >>> corpus = {"d1": "Whales sing.", "d2": "Whales swim.", "d3": "Bread is baked."}
        >>> data = RetrievalData.from_dicts(corpus, {"q": "who sings?"}, {"q": {"d1": 1}})
        >>> mine_hard_negatives("cocondenser-tiny", data, negatives=2).column_names
        ['anchor', 'positive', 'negative_1', 'negative_2']
    """
    from sentence_transformers import SentenceTransformer

    if negatives < 1:
        raise InputError(f"negatives is {negatives}; ask for one or more for each query.")
    if model == BM25 and (margin is not None or cross_encoder is not None or sampling != "random"):
        raise InputError("BM25 takes no margin, cross_encoder or sampling; leave them out, or mine with a retriever.")
    config = MiningConfig(
        bm25_depth=depth,
        bm25_negatives=negatives,
        mine_depth=depth,
        mine_negatives=negatives,
        sampling=sampling,
        margin=margin,
        cross_encoder=cross_encoder,
        negative_below=negative_below,
    )
    parts = load_data_sets(data, "train")
    judged = parts[0] if len(parts) == 1 else joined(parts)
    if not judged.relevant():
        raise InputError(f"No query of '{judged.name}' has a document judged above 0.")
    if model == BM25:
        pool, _ = bm25_pool(judged, config, seed)
    else:
        scorer = load_cross_encoder(cross_encoder) if cross_encoder else None
        retriever = load_retriever(model) if isinstance(model, str | Path) else model
        if not isinstance(retriever, SentenceTransformer):
            raise InputError(f"The model is a {type(model).__name__}; give a SentenceTransformer, or its name.")
        pool, _ = mined_pool(DenseSearcher.build(retriever, judged.corpus), judged, config, seed, scorer)
    training_set = TrainingSet(judged.queries, judged.corpus, judged.relevant(), [pool], negatives, seed)
    few = sum(len(found) < negatives for found in training_set.pools)
    if few == len(training_set):
        raise InputError(f"No query has {negatives} hard negatives; ask for fewer, or for a greater depth.")
    if few:
        logger.warning(
            "%d of %d queries have fewer than %d hard negatives and are left out.", few, len(training_set), negatives
        )
    return training_set.as_dataset(labels=labels)
