"""From drawn spans to a padded batch with masked-language-model labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from hf_cocondenser.data.masking import choose_tokens, replace_tokens
from hf_cocondenser.data.tokenizer import load_tokenizer
from hf_cocondenser.data.words import WordRule
from hf_cocondenser.errors import InputError

IGNORED = -100  # the label of a token that is not predicted


class CondenserCollator:
    """Pads and masks the spans of a batch; the spans of a document become adjacent rows.

    A mask is a function of its span's key alone: neither the batch, the worker nor a resume changes it.

    Args:
        tokenizer: a fast tokenizer, or the name of one, with [CLS], [SEP], [MASK] and padding tokens (by whatever names).
        max_length: tokens of a row, the two special tokens included; longer spans lose their end.
        mlm_probability: the share of a span's tokens that is predicted.
        pad_to_multiple_of: round the rows' length up to a multiple of this.

    Raises:
        InputError: the tokenizer lacks a special token, or its way of marking words is not known.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase | str | Path,
        *,
        max_length: int = 128,
        mlm_probability: float = 0.15,
        pad_to_multiple_of: int | None = None,
    ) -> None:
        if isinstance(tokenizer, str | Path):
            tokenizer = load_tokenizer(tokenizer)
        self.cls_id, self.sep_id, self.mask_id, self.pad_id = _special_ids(tokenizer)
        if max_length < 3:
            raise InputError(f"max_length is {max_length}: a row needs at least 3 tokens.")
        if not 0 < mlm_probability < 1:
            raise InputError(f"mlm_probability is {mlm_probability}: it must lie between 0 and 1.")
        self.max_length = max_length
        self.mlm_probability = mlm_probability
        self.pad_to_multiple_of = pad_to_multiple_of
        self.words = WordRule.from_tokenizer(tokenizer)
        self.maskable = np.ones(len(self.words.opens), bool)
        self.maskable[tokenizer.all_special_ids] = False
        known = np.zeros(len(self.words.opens), bool)
        known[list(tokenizer.get_vocab().values())] = True  # a vocabulary may have holes
        self.ordinary_ids = np.flatnonzero(self.maskable & known)

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `attention_mask`, `labels` (spans, length) and `document_ids` (spans).

        Args:
            items: dictionaries with `spans` (lists of token ids without special tokens), `keys` (one number per span),
                `document_id`, and for tokenizers whose words need the text `word_starts` (like `spans`).
        """
        room = self.max_length - 2
        spans = [np.asarray(span)[:room] for item in items for span in item["spans"]]
        keys = np.array([key for item in items for key in item["keys"]], np.uint64)
        documents = [item["document_id"] for item in items for _ in item["spans"]]
        lengths = np.array([len(span) for span in spans])
        if not lengths.all():
            raise InputError("A span without tokens cannot be masked; leave empty texts out.")
        ids = np.concatenate(spans).astype(np.int64)
        firsts = np.cumsum(lengths) - lengths
        rows = np.repeat(np.arange(len(spans)), lengths)
        positions = np.arange(len(ids)) - np.repeat(firsts, lengths)
        if all("word_starts" in item for item in items):
            starts = np.concatenate([np.asarray(s, bool)[:room] for item in items for s in item["word_starts"]])
            starts[firsts] = True
        else:
            starts = self.words.starts(ids, firsts)
        chosen = choose_tokens(starts, rows, self.maskable[ids], keys, self.mlm_probability)

        width = int(lengths.max()) + 2
        if self.pad_to_multiple_of:
            width += -width % self.pad_to_multiple_of
        shape = (len(spans), width)
        places = rows * width + positions + 1  # behind the row's [CLS]
        input_ids, labels = np.full(shape, self.pad_id, np.int64), np.full(shape, IGNORED, np.int64)
        input_ids[:, 0] = self.cls_id
        input_ids[np.arange(len(spans)), lengths + 1] = self.sep_id
        input_ids.reshape(-1)[places] = ids
        labels.reshape(-1)[places[chosen]] = ids[chosen]
        input_ids.reshape(-1)[places[chosen]] = replace_tokens(
            ids[chosen], keys[rows[chosen]], positions[chosen], self.mask_id, self.ordinary_ids
        )
        attention_mask = (np.arange(width) < (lengths + 2)[:, None]).astype(np.int64)
        return {
            "input_ids": torch.from_numpy(input_ids),
            "attention_mask": torch.from_numpy(attention_mask),
            "labels": torch.from_numpy(labels),
            "document_ids": torch.tensor(documents, dtype=torch.int64),
        }


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, int, int, int]:
    names = ("cls_token", "sep_token", "mask_token", "pad_token")
    missing = [name for name in names if getattr(tokenizer, name) is None]
    if missing:
        raise InputError(
            f"The tokenizer of '{tokenizer.name_or_path}' has no {', no '.join(missing)}: Condenser pre-training needs a "
            "masked-language-model tokenizer."
        )
    return tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id, tokenizer.pad_token_id
