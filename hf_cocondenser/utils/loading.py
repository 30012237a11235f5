"""Loading things by name: whether a name is within reach, one sentence when it cannot be loaded, nothing made up."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal, TypeVar

from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import get_session, validate_repo_id
from safetensors import SafetensorError
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from hf_cocondenser.errors import InputError
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.records import warn_of_changed_weights

_LOADING_ERRORS = (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError, SafetensorError)
_CLASSIFIER = "ForSequenceClassification"
_POOLER = r"(.*\.)?pooler\."  # retrievers pool by themselves; transformers makes one up where the file has none

Model = TypeVar("Model")


def load_whole(
    make: Callable[..., Model], what: str, name: str | Path, *, may_be_new: str = _POOLER, **options: Any
) -> Model:
    """Load a model of transformers or sentence-transformers, with all its weights and its own tokenizer.

    Where a file lacks weights, transformers makes them up at random; where a folder lacks a tokenizer, it makes up one
    without words. Every model that is loaded in this package is loaded here, so that neither goes unnoticed.

    Args:
        make: what loads it, such as `SentenceTransformer` or `AutoModel.from_pretrained`.
        what: what `name` stands for in an error, such as "The retriever".
        name: a folder or Hub name.
        may_be_new: a pattern for the beginning of names of weights that the file may lack; poolers' by default, which
            no retriever uses.
        **options: for `make`.

    Raises:
        InputError: nothing of that name is within reach, or it cannot be loaded, or weights or words are missing.
    """
    warn_of_changed_weights(name)
    with loading(what, name), _all_weights(what, name, re.compile(may_be_new)):
        model = make(str(name), **options)
    modules: Iterable[Any] = model.modules() if hasattr(model, "modules") else ()
    for module in modules:
        if isinstance(tokenizer := getattr(module, "tokenizer", None), PreTrainedTokenizerBase):
            require_words(tokenizer, name)
    return model


@contextmanager
def _all_weights(what: str, name: str | Path, may_be_new: re.Pattern[str]) -> Iterator[None]:
    """Inside, `from_pretrained` of any model raises an `InputError` for weights that its files lack.

    sentence-transformers does not hand on what transformers tells of missing weights, so the method is replaced inside.
    """
    original = PreTrainedModel.__dict__["from_pretrained"]

    def checked(cls: type[PreTrainedModel], *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        model, info = original.__func__(cls, *args, output_loading_info=True, **kwargs)
        for adapter in getattr(model, "peft_config", {}).values():  # what is told is of the adapter, not of its base
            base = original.__func__(cls, adapter.base_model_name_or_path, output_loading_info=True)[1]
            info["missing_keys"] = {*info["missing_keys"], *base["missing_keys"]}
        if missing := sorted(key for key in info["missing_keys"] if not may_be_new.match(key)):
            raise InputError(
                f"{what} '{name}' lacks {len(missing)} of its weights ({missing[0]}, ...), and random ones in their place "
                "would give wrong results unnoticed; name a folder or file that holds all of them."
            )
        return (model, info) if output_loading_info else model

    setattr(PreTrainedModel, "from_pretrained", classmethod(checked))  # noqa: B010 - mypy refuses the assignment
    try:
        yield
    finally:
        setattr(PreTrainedModel, "from_pretrained", original)  # noqa: B010


def require_words(tokenizer: PreTrainedTokenizerBase, name: str | Path) -> None:
    """Refuse a tokenizer that knows special tokens only.

    Raises:
        InputError: transformers made it up, because there was none.
    """
    known = tokenizer.get_vocab().keys() - {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab(), "▁"}
    if not known:
        raise InputError(f"The files of the tokenizer of '{name}' (tokenizer.json) are missing; copy them into it.")


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
    except Exception as error:
        if type(error) is not Exception and not isinstance(error, _LOADING_ERRORS):  # the tokenizers library's is bare
            raise
        reason = one_line(error)
        if isinstance(error, SafetensorError):
            reason = f"its weights are damaged ({reason})"
        elif type(error) is Exception or "instantiate" in str(error):
            reason = f"the files of its tokenizer (tokenizer.json) are missing or damaged ({reason[:200]})"
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
        ValueError: it cannot be read.
    """
    architectures: list[str] = []
    with suppress(OSError):  # a sentence-transformers model may have it in a folder of its own
        architectures = PreTrainedConfig.get_config_dict(name)[0].get("architectures") or []
    found = next((a for a in architectures if a.endswith(_CLASSIFIER)), None)
    if found is not None:
        raise InputError(
            f"'{name}' is a {found}: a cross-encoder, or another classifier of texts, not an encoder; name an encoder, or "
            f"save this one's on purpose with AutoModel.from_pretrained('{name}').save_pretrained(FOLDER)."
        )
