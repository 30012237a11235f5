"""Texts tokenised once, by the model's own rules, and put together into padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm.auto import tqdm

from hf_cocondenser.retrieval.encode import Kind, prompt_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_BLOCK = 1024


class TokenStore:
    """The tokens of a list of texts, exactly as `encode_query` / `encode_document` of the model would make them.

    Tokenising is a visible share of a small model's training time when it is done again each epoch.

    Args:
        model: the retriever; its prompt and length for `task` are used.
        texts: what to tokenise.
        task: `query` or `document`.
    """

    def __init__(self, model: SentenceTransformer, texts: Sequence[str], task: Kind) -> None:
        self.model = model
        self.texts = texts
        self.task = task
        self.prompt = prompt_of(model, task)
        tokenizer = model.tokenizer
        self.pad_id = tokenizer.pad_token_id or 0
        self.left = getattr(tokenizer, "padding_side", "right") == "left"
        self.columns: dict[str, list[np.ndarray]] = {}
        self.constants: dict[str, Any] = {}
        # Flash attention takes unpadded batches, which have no rows to store.
        self.live = bool(texts) and "cu_seq_lens_q" in self._preprocess(texts[:2])
        if not self.live:
            self._fill()

    def _preprocess(self, texts: Sequence[str]) -> dict[str, Any]:
        return self.model.preprocess(list(texts), prompt=self.prompt, task=self.task)

    def _fill(self) -> None:
        blocks = range(0, len(self.texts), _BLOCK)
        for start in tqdm(
            blocks, desc=f"Tokenising ({self.task})", disable=True if len(blocks) < 20 else None, leave=False
        ):
            features = self._preprocess(self.texts[start : start + _BLOCK])
            mask = features["attention_mask"].bool().numpy()
            for name, value in features.items():
                if not isinstance(value, torch.Tensor) or value.shape != mask.shape:
                    self.constants[name] = value
                elif name != "attention_mask":
                    rows = value.numpy().astype(np.int32)
                    self.columns.setdefault(name, []).extend(row[keep] for row, keep in zip(rows, mask, strict=True))

    def batch(self, indices: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """The features of some texts, padded to the longest of them."""
        if self.live:
            return {**self._preprocess([self.texts[i] for i in indices]), "task": self.task}
        lengths = [len(self.columns["input_ids"][i]) for i in indices]
        width = max(lengths)
        features: dict[str, Any] = {**self.constants, "task": self.task}  # a Router goes by it
        for name, rows in self.columns.items():
            padded = np.full((len(lengths), width), self.pad_id if name == "input_ids" else 0, dtype=np.int64)
            for row, (i, length) in enumerate(zip(indices, lengths, strict=True)):
                padded[row, width - length if self.left else 0 :][:length] = rows[i]
            features[name] = torch.from_numpy(padded)
        mask = np.arange(width) < np.array(lengths)[:, None]
        features["attention_mask"] = torch.from_numpy((mask[:, ::-1].copy() if self.left else mask).astype(np.int64))
        return features
