"""Showing masks as text, to see at a glance that words are words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_cocondenser.data.collator import IGNORED, CondenserCollator


def preview_masks(
    tokenizer: PreTrainedTokenizerBase, collator: CondenserCollator, items: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return each span of the items as text in which predicted words stand as `{word -> what the model sees}`."""
    batch = collator(items)
    all_starts = [starts for item in items for starts in item.get("word_starts", [None] * len(item["spans"]))]
    texts = []
    for ids, mask, labels, starts in zip(
        batch["input_ids"].numpy(), batch["attention_mask"].numpy(), batch["labels"].numpy(), all_starts, strict=True
    ):
        inner = slice(1, int(mask.sum()) - 1)
        seen, wanted = ids[inner], labels[inner]
        original = np.where(wanted == IGNORED, seen, wanted)
        begins = collator.words.starts(original, np.zeros(1, np.int64)) if starts is None else np.array(starts, bool)
        begins = begins[: len(original)]
        begins[0] = True
        bounds = [*np.flatnonzero(begins).tolist(), len(original)]
        words = []
        for start, end in pairwise(bounds):
            word = _text(tokenizer, original[start:end])
            masked = wanted[start] != IGNORED
            words.append(f"{{{word} -> {_text(tokenizer, seen[start:end])}}}" if masked else word)
        texts.append(" ".join(words))
    return texts


def _text(tokenizer: PreTrainedTokenizerBase, ids: np.ndarray) -> str:
    return tokenizer.convert_tokens_to_string(tokenizer.convert_ids_to_tokens(ids.tolist())).strip()
