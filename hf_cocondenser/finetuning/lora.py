"""Low-rank adapters: trained in the place of the weights, merged into them at the end."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from packaging.version import Version

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.retriever import merge_adapters, transformers_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_OLDEST_PEFT = "0.20"
"""Beside transformers 5, older ones silently put new adapters in the place of those that a checkpoint holds."""


def require_peft() -> None:
    """Check that adapters can be trained.

    Raises:
        InputError: peft is not installed, or too old.
    """
    try:
        installed = version("peft")
    except PackageNotFoundError:
        raise InputError("LoRA needs peft: pip install 'hf-cocondenser[lora]'.") from None
    if Version(installed) < Version(_OLDEST_PEFT):
        raise InputError(f"LoRA needs peft {_OLDEST_PEFT} or newer, not {installed}: pip install -U peft.")


def add_lora(model: SentenceTransformer, rank: int) -> None:
    """Put adapters on every linear layer of the encoder and freeze everything else of it; see `require_peft`."""
    require_peft()
    from peft import LoraConfig

    model.add_adapter(
        LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="FEATURE_EXTRACTION")
    )


def merge_lora(model: SentenceTransformer) -> None:
    """Add the adapters to the weights and take them away: what is left is a plain encoder."""
    for transformer in transformers_of(model):
        merge_adapters(transformer.auto_model)
    model.requires_grad_(True)
