"""Recipes: settings of papers that belong together, and configurations made of single options."""

from __future__ import annotations

import os
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, NamedTuple

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import DevelopmentConfig, MiningConfig, PairsConfig

RECIPES: dict[str, dict[str, Any]] = {
    # arXiv 2112.07899, and its authors' code where the paper is silent: mean pooling, a projection without bias, unit
    # vectors, cosines over 0.01, both directions summed, Adafactor with linear decay, no dropout.
    "gtr": {
        "pooling": "mean",
        "projection": 768,
        "similarity": "cosine",
        "temperature": 0.01,
        "directions": "sum",
        "per_device_train_batch_size": 2048,
        "gradient_cache": True,
        "optim": "adafactor",
        "learning_rate": 1e-3,
        "num_train_epochs": 3.0,
        "keep_best_of": "checkpoints",
        "warmup_steps": 0.0,
        "weight_decay": 0.0,
        "dropout": 0.0,
        "query_length": 64,
        "passage_length": 512,
    },
    # arXiv 2010.08191: passages of all devices as negatives; a cross-encoder trained against what round 1 finds; of round
    # 1's first 50, those under 0.1, four per query in their order, filled up from behind; round 2 on these, and on
    # pseudo-labelled queries where there are any. The paper's cross-encoder starts from a larger model.
    "rocketqa": {
        "rounds": 2,
        "round2_negatives": "mined",
        "num_train_epochs": 10.0,
        "keep_best_of": "checkpoints",
        "per_device_train_batch_size": 4096,
        "gradient_cache": True,
        "negatives_per_query": 1,
        "learning_rate": 3e-5,
        "warmup_steps": 0.1,
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
    },
}
"""Name -> what a recipe sets, batches over all devices; what it leaves open keeps its default."""


class FinetuneOptions(NamedTuple):
    """The configurations of `finetune`."""

    args: RetrieverTrainingArguments
    mining: MiningConfig
    pairs: PairsConfig
    development: DevelopmentConfig


def recipe_settings(name: str | None, processes: int | None = None) -> dict[str, Any]:
    """What a recipe sets for each process; None: nothing.

    Args:
        name: of the recipe.
        processes: that share its batch; by default those that torchrun started.

    Raises:
        InputError: there is no such recipe.
    """
    if name is None:
        return {}
    if name not in RECIPES:
        raise InputError(f"There is no recipe '{name}'; there are {', '.join(RECIPES)}.")
    processes = processes or int(os.environ.get("WORLD_SIZE", "1"))
    batch = RECIPES[name]["per_device_train_batch_size"]
    return RECIPES[name] | {"per_device_train_batch_size": max(1, batch // processes)}


def finetune_options(recipe: str | None = None, **options: Any) -> FinetuneOptions:
    """The configurations with a recipe's settings; options that are given, by the names of their fields, win.

    Raises:
        InputError: there is no such recipe or option, or a value is out of its range.

    Example:
        >>> args, mining, pairs, development = finetune_options("rocketqa", per_device_train_batch_size=256)
        >>> args.per_device_train_batch_size, mining.denoise_depth
        (256, 50)
    """
    chosen = recipe_settings(recipe) | options
    made: list[Any] = []
    known: dict[str, str] = {}
    for kind in (RetrieverTrainingArguments, MiningConfig, PairsConfig, DevelopmentConfig):
        names = {item.name for item in fields(kind) if item.init}
        for item in fields(kind):
            short = [alias.strip("-").replace("-", "_") for alias in item.metadata.get("aliases", ())]
            known |= dict.fromkeys([item.name, *short], item.name) if item.init else {}
        made.append(kind(**{name: chosen.pop(name) for name in list(chosen) if name in names}))
    if chosen:
        wrong = next(iter(chosen))
        similar = get_close_matches(wrong, known, n=1, cutoff=0.5)
        hint = f"; there is '{known[similar[0]]}'" if similar else ""
        raise InputError(f"There is no option '{wrong}' of fine-tuning{hint}.")
    return FinetuneOptions._make(made)
