"""The temperature that suits a starting point."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hf_cocondenser.finetuning.loss import contains
from hf_cocondenser.finetuning.training_set import TrainingSet
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.encode import encode_texts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_SAMPLE = 256
_SLACK = 0.02  # nats


def auto_temperature(model: SentenceTransformer, data: RetrievalData | TrainingSet) -> float:
    """The temperature under which the model's scores are calibrated, measured on 256 pairs of the data.

    A trained model gets about the temperature back that it was trained with, an untrained one a temperature that suits
    its vectors' norm. The same model and data give the same temperature.

    Args:
        model: the retriever that is to be trained.
        data: queries and their relevant documents.

    Raises:
        InputError: no query has a relevant document.

    Example:
        >>> from hf_cocondenser import RetrievalData
        >>> from hf_cocondenser.retrieval.retriever import load_retriever
        >>> data = RetrievalData.from_dicts({"d": "Whales sing."}, {"q": "who sings?"}, {"q": {"d": 1}})
        >>> 0 < auto_temperature(load_retriever("cocondenser-tiny"), data)
        True
    """
    training_set = data if isinstance(data, TrainingSet) else TrainingSet(data.queries, data.corpus, data.relevant())
    rng = np.random.default_rng(training_set.seed)
    indices = rng.permutation(len(training_set))[:_SAMPLE].tolist()
    keys = [int(training_set[index][1][0]) for index in indices]
    queries, passages = (
        torch.from_numpy(vectors)
        for vectors in (
            encode_texts(model, [training_set.queries[index] for index in indices], kind="query"),
            encode_texts(model, [training_set.passages[key] for key in keys]),
        )
    )
    if model.similarity_fn_name == "cosine":
        queries, passages = F.normalize(queries, dim=-1), F.normalize(passages, dim=-1)
    relevant = torch.nn.utils.rnn.pad_sequence(
        [torch.from_numpy(training_set.relevant[index]) for index in indices], batch_first=True, padding_value=-1
    )
    masked = contains(relevant, torch.tensor(keys)).fill_diagonal_(False)
    return calibrated_temperature(queries, passages, masked)


def calibrated_temperature(queries: Tensor, passages: Tensor, masked: Tensor | None = None) -> float:
    """The largest temperature whose in-batch loss is within 0.02 nats of the best one's ("temperature scaling").

    A model trained with a temperature gets about that one back (so a coCondenser checkpoint trained on plain dot
    products about 1, and a cosine model about its own), whatever its vectors' norm. A model whose scores say nothing
    yet (random weights) would want an infinite one; it gets the ceiling: the mean squared norm over the square root
    of the dimension, which is how far two random directions of that length score from 0 (about 0.05 for cosines).

    Args:
        queries: vectors, shape (n, d).
        passages: vectors of their positives, shape (n, d).
        masked: pairs to leave out, bool (n, n).
    """
    scores = queries.double() @ passages.double().T
    squared_norm = float((queries.norm(dim=1) * passages.norm(dim=1)).mean())
    if masked is not None:
        scores = scores.masked_fill(masked, -torch.inf)
    return temperature_of_scores(scores, max(squared_norm, 1e-6) / math.sqrt(queries.shape[1]))


def temperature_of_scores(scores: Tensor, ceiling: float) -> float:
    """The largest temperature up to `ceiling` whose loss is within 0.02 nats of the best one's.

    Args:
        scores: of n queries with n passages, shape (n, n), each query's own on the diagonal, -inf where left out.
        ceiling: how far scores of pairs that have nothing to do with each other lie apart.
    """
    target = torch.arange(len(scores), device=scores.device)
    candidates = [ceiling * 10 ** (-step / 20) for step in range(61)]  # down to a thousandth
    losses = [float(F.cross_entropy(scores / temperature, target)) for temperature in candidates]
    best = min(losses)
    chosen = next(t for t, loss in zip(candidates, losses, strict=True) if loss <= best + _SLACK)
    return float(f"{chosen:.4g}")
