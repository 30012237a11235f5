"""Recipes: settings of `FinetuneConfig` that belong together."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.config import FinetuneConfig, MiningConfig

GTR_BATCH = 2048
"""Queries per step of the GTR paper, over all devices."""

ROCKETQA_BATCH = 4096
"""Queries per step of the RocketQA paper, over all devices."""


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


def rocketqa_settings(processes: int | None = None) -> dict[str, Any]:
    """RocketQA's settings (arXiv 2010.08191) of `FinetuneConfig` and `MiningConfig`.

    Round 1 with passages of all devices as negatives; a cross-encoder trained against what round 1 finds; of round 1's
    first 50, those under 0.1, four per query in their order, filled up from behind; round 2 on these, and on pseudo-labelled
    queries where there are `unlabelled_queries`. The cross-encoder starts from the retriever's checkpoint, the paper's
    from a larger model.

    Args:
        processes: that share the batch of 4,096; by default those that torchrun started.
    """
    processes = processes or int(os.environ.get("WORLD_SIZE", "1"))
    return {
        "rounds": 2,
        "round2_negatives": "mined",
        "epochs": 10.0,
        "batch_size": max(1, ROCKETQA_BATCH // processes),
        "gradient_cache": True,
        "negatives_per_query": 1,
        "learning_rate": 3e-5,
        "warmup": 0.1,
        "weight_decay": 0.0,
        "query_length": 32,
        "passage_length": 128,
        "cross_encoder": "train",
        "denoise_depth": 50,
        "mine_depth": 200,
        "mine_negatives": 4,
        "sampling": "top",
        "negative_below": 0.1,
        "positive_above": 0.9,
    }


RECIPES: dict[str, Callable[[], dict[str, Any]]] = {
    "cocondenser": dict,
    "gtr": gtr_settings,
    "rocketqa": rocketqa_settings,
}
"""Name -> function that gives the settings which differ from the defaults of `FinetuneConfig` and `MiningConfig`."""


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


def rocketqa_configs(**settings: Any) -> tuple[FinetuneConfig, MiningConfig]:
    """Both configurations with RocketQA's settings; those given win.

    Raises:
        InputError: a value is out of its range.

    Example:
        >>> training, mining = rocketqa_configs(batch_size=256)
        >>> training.batch_size, mining.denoise_depth
        (256, 50)
    """
    chosen = {**rocketqa_settings(), **settings}
    names = {item.name for item in fields(FinetuneConfig)}
    return (
        FinetuneConfig(**{name: value for name, value in chosen.items() if name in names}),
        MiningConfig(**{name: value for name, value in chosen.items() if name not in names}),
    )
