"""What is kept of a training: the start's weights, the trained ones, or weights between the two (WiSE-FT, LM-Cocktail)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hf_cocondenser.evaluation.significance import bootstrap_intervals
from hf_cocondenser.finetuning.dev import DevEvaluator

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

STEPS_BETWEEN = (0.25, 0.5, 0.75)
_SURE = 0.95  # to leave the start
_ONE_ERROR = 0.68  # to go further: one standard error, as when the simplest good model is chosen

Weights = dict[str, torch.Tensor]


def weights_of(model: SentenceTransformer) -> Weights:
    """A copy of a model's weights on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def choose_weights(model: SentenceTransformer, start: Weights, evaluator: DevEvaluator) -> dict[str, Any]:
    """Measure the start, the trained weights and three steps between them; leave the chosen ones in `model`.

    The documents are encoded once for each.

    Args:
        model: holds the trained weights.
        start: what it was trained from.
        evaluator: the development set.

    Returns:
        `alpha`, the share of the way from the start to the trained weights; the development measures of the chosen
        weights (`dev`), of the start (`dev_before`) and of every candidate; and what chose (`values`, query by query).
    """
    trained = weights_of(model)
    means: dict[float, dict[str, float]] = {}
    values: dict[float, np.ndarray] = {}
    for alpha in (0.0, *STEPS_BETWEEN, 1.0):
        _load_between(model, start, trained, alpha)
        means[alpha], values[alpha] = evaluator.measure(model)
    chosen = smallest_sure_step(values)
    _load_between(model, start, trained, chosen)
    told = ", ".join(f"{alpha:g}: {means[alpha][evaluator.measures[0]]:.4f}" for alpha in means)
    logger.info(
        "%s between the start (0) and the trained weights (1): %s; kept: %g.", evaluator.measures[0], told, chosen
    )
    return {
        "alpha": chosen,
        "dev": means[chosen],
        "dev_before": means[0.0],
        "dev_trained": means[1.0],
        "dev_by_alpha": {f"{alpha:g}": measured[evaluator.measures[0]] for alpha, measured in means.items()},
        "values": values[chosen].tolist(),
    }


def smallest_sure_step(values: Mapping[float, np.ndarray]) -> float:
    """The smallest step away from the start that is not surely worse than the best.

    The start is kept unless the 95 % interval of the paired differences to the best excludes zero; a smaller step is kept
    unless the 68 % interval does, which is about one standard error.

    Args:
        values: share of the way -> the measure, query by query; 0 is the start.

    Example:
        >>> smallest_sure_step({0.0: np.zeros(50), 0.5: np.full(50, 0.8), 1.0: np.full(50, 0.8)})
        0.5
    """
    best = max(values, key=lambda alpha: (values[alpha].mean(), -alpha))
    for alpha in sorted(values):
        level = _ONE_ERROR if alpha else _SURE
        if alpha == best or not surely_better(values[best], values[alpha], level):
            return alpha
    return best


def surely_better(one: np.ndarray, other: np.ndarray, level: float = _ONE_ERROR) -> bool:
    """Whether the interval of the mean paired difference lies above zero."""
    return bool(bootstrap_intervals(one - other, level=level)[0] > 0)


def _load_between(model: SentenceTransformer, start: Weights, trained: Weights, alpha: float) -> None:
    between = {
        name: torch.lerp(start[name], value, alpha) if value.is_floating_point() else value
        for name, value in trained.items()
    }
    model.load_state_dict(between)
