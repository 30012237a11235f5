"""Loading a pre-training checkpoint, every failure told in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig

from hf_cocondenser.configuration_condenser import CondenserConfig
from hf_cocondenser.errors import InputError
from hf_cocondenser.modeling_condenser import CondenserForPreTraining
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.loading import loading
from hf_cocondenser.utils.records import warn_of_changed_weights

CONDENSER_FOLDER = "condenser"


def load_pretraining_checkpoint(name_or_path: str | Path, **kwargs: Any) -> CondenserForPreTraining:
    """`CondenserForPreTraining.from_pretrained` in evaluation mode, in float32 unless `dtype` says otherwise.

    Args:
        name_or_path: folder, Hub name or name of a shipped checkpoint; of a published repository, its `condenser/` is loaded.
        **kwargs: for `from_pretrained` (`subfolder`, `revision`, `dtype`, ...).

    Raises:
        InputError: nothing is there, it cannot be read, or it is no complete Condenser checkpoint.
    """
    place = checkpoint_path(name_or_path)
    path = Path(place)
    folder = path / kwargs.get("subfolder", "")
    if path.exists() and not folder.is_dir():
        raise InputError(f"'{folder}' is not a folder; name the folder of a checkpoint.")
    if path.is_dir() and not (folder / "config.json").is_file():
        raise InputError(f"'{folder}' is no checkpoint: it has no config.json.")
    warn_of_changed_weights(folder)
    with loading("The checkpoint", name_or_path):
        options = {"dtype": torch.float32} | condenser_place(place) | kwargs
        return CondenserForPreTraining.from_pretrained(place, **options).eval()


def condenser_place(name_or_path: str | Path) -> dict[str, str]:
    """The `subfolder` argument for a published repository, whose root is a retriever; nothing for others.

    Raises:
        OSError, ValueError: `name_or_path` cannot be read, as `from_pretrained` says it.
    """
    if PreTrainedConfig.get_config_dict(name_or_path)[0].get("model_type") == CondenserConfig.model_type:
        return {}
    try:
        inner, _ = PreTrainedConfig.get_config_dict(name_or_path, subfolder=CONDENSER_FOLDER)
    except OSError:
        return {}
    return {"subfolder": CONDENSER_FOLDER} if inner.get("model_type") == CondenserConfig.model_type else {}
