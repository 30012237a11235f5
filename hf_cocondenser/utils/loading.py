"""Loading things by name: whether a name is within reach, and one sentence when it cannot be loaded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal

from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import get_session, validate_repo_id
from safetensors import SafetensorError
from transformers import PreTrainedConfig

from hf_cocondenser.errors import InputError
from hf_cocondenser.shipped import checkpoint_path

_LOADING_ERRORS = (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError, SafetensorError)
_CLASSIFIER = "ForSequenceClassification"


@contextmanager
def loading(what: str, name: str | Path) -> Iterator[None]:
    """Load a model inside; every failure there is told in one sentence.

    Args:
        what: what `name` stands for in the sentence, such as "The model".
        name: a folder or Hub name.

    Raises:
        InputError: nothing of that name is within reach, or it cannot be loaded.
    """
    require_within_reach(what, name)
    try:
        yield
    except InputError:
        raise
    except UnpicklingError:
        raise InputError(
            f"'{name}' is not loaded: its PyTorch file holds other things than tensors, which may run code; convert it "
            "to safetensors where you trust it."
        ) from None
    except _LOADING_ERRORS as error:
        reason = one_line(error)
        if isinstance(error, SafetensorError):
            reason = f"its weights are damaged ({reason})"
        elif "ignore_mismatched_sizes" in str(error):
            reason = "its weights do not have the sizes that its config.json names"
        raise InputError(f"{what} '{name}' cannot be loaded: {reason}") from None


def require_within_reach(what: str, name: str | Path) -> None:
    """Check, before any work is done, that a model can be asked for.

    Raises:
        InputError: see `out_of_reach`.
    """
    if reason := out_of_reach(name):
        raise InputError(f"{what} '{name}' cannot be loaded: {reason}.")


def one_line(error: Exception) -> str:
    """The first paragraph of an error's message, on one line."""
    paragraph = str(error).strip().split("\n\n")[0]
    return " ".join(paragraph.split()) or type(error).__name__


def out_of_reach(name: str | Path, kind: Literal["model", "dataset"] = "model") -> str | None:
    """Why nothing can be loaded by a name: it is not here, not in the cache, and the Hub cannot be asked; None if it may.

    The Hub's own client tries for up to a minute and a half when there is no network.
    """
    if Path(checkpoint_path(name)).exists():
        return None
    try:
        validate_repo_id(str(name))
    except HFValidationError:
        return "there is no such file or folder"
    cached = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=str(name), repo_type=kind)
    if cached.is_dir() or (kind == "dataset" and _is_prepared(str(name))):
        return None
    if constants.HF_HUB_OFFLINE:
        return "nothing of that name is here or in the cache, and HF_HUB_OFFLINE forbids to ask the Hub"
    if failure := _hub_failure(constants.ENDPOINT):
        return f"nothing of that name is here or in the cache, and {constants.ENDPOINT} cannot be reached ({failure})"
    return None


def _is_prepared(name: str) -> bool:
    from datasets import config

    return (Path(config.HF_DATASETS_CACHE) / name.replace("/", "___")).is_dir()


@lru_cache(maxsize=1)
def _hub_failure(endpoint: str) -> str | None:
    """Why the Hub cannot be reached, by its client's own proxies and certificates; None if it answers."""
    for pause in (1, 0):  # a name server may fail once
        try:
            get_session().head(endpoint, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        except Exception as error:  # of httpx or its successor, by the version of huggingface_hub
            failure = one_line(error)
            time.sleep(pause)
        else:
            return None
    return failure


def refuse_classifier(name: str | Path) -> None:
    """Refuse cross-encoders and other classifiers, whose weights load as an encoder's without a word.

    Raises:
        InputError: the configuration names a classifier of texts.
        OSError, ValueError: it cannot be read.
    """
    architectures = PreTrainedConfig.get_config_dict(name)[0].get("architectures") or []
    found = next((a for a in architectures if a.endswith(_CLASSIFIER)), None)
    if found is not None:
        raise InputError(
            f"'{name}' is a {found}: a cross-encoder, or another classifier of texts, not an encoder; name an encoder, or "
            f"save this one's on purpose with AutoModel.from_pretrained('{name}').save_pretrained(FOLDER)."
        )
