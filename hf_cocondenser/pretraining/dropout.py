"""Setting a model's dropout after it was loaded."""

from __future__ import annotations

from typing import Any

import torch


def set_dropout(model: torch.nn.Module, probability: float) -> None:
    """Set every dropout probability of a transformers model, in its modules and in the configuration that is saved.

    Args:
        model: an encoder, or a Condenser, whose configuration holds its encoder's.
        probability: of a number to be dropped, 0 to 1.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = probability
        for name in ("dropout", "dropout_prob", "attention_dropout"):  # attention layers keep a plain number
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, probability)
    config: Any = getattr(model.config, "backbone_config", model.config)
    for name, value in config.to_dict().items():
        if isinstance(value, float) and ("dropout" in name or name == "attn_pdrop"):
            setattr(config, name, probability)
