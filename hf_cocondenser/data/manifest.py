"""What a span folder says of itself: how it was made, what is in it, and whether lengths give siblings away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_cocondenser import __version__
from hf_cocondenser.data.cutting import SpanOptions
from hf_cocondenser.data.dataset import SpanDataset
from hf_cocondenser.data.lengths import length_leak
from hf_cocondenser.data.store import FORMAT, SpanStore
from hf_cocondenser.data.tokenizer import tokenizer_hash
from hf_cocondenser.data.words import tokenizer_family
from hf_cocondenser.errors import InputError

_LEAK_SAMPLE = 16_384  # pairs whose lengths are tried for a shortcut


def build_manifest(
    store: SpanStore, read: int, tokenizer: PreTrainedTokenizerBase, options: SpanOptions, source: str | None
) -> dict[str, Any]:
    """Return the manifest of a span file whose documents were `read` in all.

    Raises:
        InputError: it has no documents, ids come twice, or all documents would be set aside for evaluation.
    """
    if not len(store):
        raise InputError(f"There is no text in the {read:,} documents" + (f" of '{source}'." if source else "."))
    order = np.argsort(store.id_hashes, kind="stable")
    twice = np.flatnonzero(np.diff(store.id_hashes[order]) == 0)
    if len(twice):
        raise InputError(
            f"{len(twice):,} document ids come more than once, for instance '{store.id(order[twice[0]])}'; ids must be "
            "unique."
        )
    below = _evaluation_threshold(store.id_hashes[order], options.evaluation)
    several = store.span_counts > 1
    return {
        "format": FORMAT,
        "version": __version__,
        "source": source,
        "tokenizer": {
            "name": str(tokenizer.name_or_path),
            "hash": tokenizer_hash(tokenizer),
            "family": tokenizer_family(tokenizer),
            "vocab_size": len(tokenizer),
        },
        "recipe": asdict(options),
        "counts": {
            "documents": len(store),
            "empty_documents": read - len(store),
            "one_span_documents": int((~several).sum()),
            "spans": int(store.span_counts.sum()),
            "tokens": int(store.token_counts.sum()),
            "pairs_per_epoch": 0,
        },
        "length_leak": None,
        "evaluation": {"documents": int((store.id_hashes < np.uint64(below)).sum()), "below_hash": below},
        "document_tokens": _histogram([store.token_counts]),
        "span_tokens": _histogram(store.span_lengths()),
    }


def _evaluation_threshold(sorted_hashes: np.ndarray, evaluation: float) -> int:
    if evaluation < 1:
        return int(evaluation * 2**64)
    if evaluation >= len(sorted_hashes):
        raise InputError(
            f"{int(evaluation):,} documents for evaluation leave none of the {len(sorted_hashes):,} for training."
        )
    return int(sorted_hashes[int(evaluation)])


def _histogram(lengths: Iterable[np.ndarray]) -> dict[str, int]:
    """How many lengths lie in each power of two, as {"8-15": 120, ...}."""
    counts = np.zeros(64, np.int64)
    for some in lengths:
        counts += np.bincount(np.log2(some).astype(int), minlength=64)
    return {f"{2**power}-{2 ** (power + 1) - 1}": int(counts[power]) for power in np.flatnonzero(counts).tolist()}


def measure_leak(folder: Path, manifest: dict[str, Any]) -> None:
    """Add to the manifest how many pairs an epoch of training has, and how well lengths alone would tell siblings.

    Raises:
        InputError: there are no pairs.
    """
    options = manifest["recipe"]
    spans = SpanDataset(folder, pairs=True, seed=options["seed"], max_length=options["target_tokens"] + 2)
    sample = np.unique(np.linspace(0, len(spans) - 1, min(len(spans), _LEAK_SAMPLE)).astype(np.int64))
    manifest["counts"]["pairs_per_epoch"] = len(spans)
    manifest["length_leak"] = length_leak(spans.draw_pairs(sample)[2])
