"""Recipes: settings of `FinetuneConfig` that belong together."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.config import FinetuneConfig

GTR_BATCH = 2048
"""Queries per step of the GTR paper, over all devices."""


def gtr_settings(processes: int | None = None) -> dict[str, Any]:
    """GTR's settings (arXiv 2112.07899, and its authors' code where the paper is silent).

    Mean pooling, a projection without bias to 768 dimensions, unit vectors; cosines over 0.01, both directions summed;
    2,048 queries over all devices through the gradient cache; Adafactor with linear decay from 1e-3; no dropout.

    Args:
        processes: that share the batch; by default those that torchrun started.
    """
    processes = processes or int(os.environ.get("WORLD_SIZE", "1"))
    return {
        "pooling": "mean",
        "projection": 768,
        "similarity": "cosine",
        "temperature": "0.01",
        "directions": "sum",
        "batch_size": max(1, GTR_BATCH // processes),
        "gradient_cache": True,
        "optimizer": "adafactor",
        "learning_rate": 1e-3,
        "warmup": 0.0,
        "weight_decay": 0.0,
        "dropout": 0.0,
        "query_length": 64,
        "passage_length": 512,
    }


RECIPES: dict[str, Callable[[], dict[str, Any]]] = {"cocondenser": dict, "gtr": gtr_settings}
"""Name -> function that gives the settings which differ from `FinetuneConfig`'s defaults."""


def recipe_settings(name: str) -> dict[str, Any]:
    """What a recipe sets; `cocondenser` is `FinetuneConfig` as it is.

    Raises:
        InputError: there is no such recipe.
    """
    if name not in RECIPES:
        raise InputError(f"There is no recipe '{name}'; there are {', '.join(RECIPES)}.")
    return RECIPES[name]()


def gtr_config(**settings: Any) -> FinetuneConfig:
    """`FinetuneConfig` with GTR's settings; those given win.

    Raises:
        InputError: a value is out of its range.

    Example:
        >>> gtr_config(max_steps=20_000).temperature
        '0.01'
    """
    return FinetuneConfig(**{**gtr_settings(), **settings})
