"""What every scorer is: an encoder of sentence-transformers, perhaps a few weights on top, and a scoring function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hf_cocondenser.errors import InputError
from hf_cocondenser.research.scorers.vectors import Vectors
from hf_cocondenser.retrieval.encode import Features, Kind, prompt_of, token_batches
from hf_cocondenser.retrieval.retriever import as_retriever, transformers_of, with_modules
from hf_cocondenser.utils.files import write_json

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base import BaseModel

MODEL = "model"  # folder of a training that holds the scorer
SETTINGS = "scorer.json"
WEIGHTS = "scorer.safetensors"
_BATCH_TOKENS = 8192


class Scorer(nn.Module, ABC):
    """Texts to vectors, and the vectors of queries and documents to scores.

    Args:
        encoder: gives the vectors of tokens or texts; it holds tokenizer, lengths and prompts.
        settings: of the scorer's own, JSON values; they are saved with it.

    Attributes:
        kind: its name.
        stores_keys: whether an index must keep the token of each vector beside it.
    """

    kind: ClassVar[str]
    stores_keys: ClassVar[bool] = False
    accepts_loss_kwargs = False  # transformers' trainer would leave the division by accumulation steps to the model

    def __init__(self, encoder: BaseModel, **settings: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.settings = settings

    @classmethod
    def from_retriever(cls, start: SentenceTransformer, **settings: Any) -> Scorer:
        """A fresh scorer on the transformer of a retriever; what it has beside the transformer is random."""
        return cls(transformer_alone(start), **settings)

    @classmethod
    def load_encoder(cls, folder: Path, device: str | None = None) -> BaseModel:
        """The encoder that `save` wrote."""
        return as_retriever(folder, device=device)

    @abstractmethod
    def represent_batch(self, features: Features, task: Kind) -> Vectors:
        """The vectors of one padded batch of tokenised texts."""

    @abstractmethod
    def score(self, queries: Vectors, documents: Vectors) -> Tensor:
        """Every query against every document: shape (queries, documents)."""

    def represent(self, features: Features, task: Kind) -> Vectors:
        """The vectors of tokenised texts, computed in batches of like length."""
        parts, rows = [], []
        for own, batch in token_batches(features, _BATCH_TOKENS):
            on_device = {
                name: value.to(self.device) if isinstance(value, Tensor) else value for name, value in batch.items()
            }
            parts.append(self.represent_batch(on_device, task))
            rows.append(own)
        order = torch.from_numpy(np.concatenate(rows)).argsort()
        return Vectors.join(parts).take(order.to(self.device))

    def represent_texts(self, texts: Sequence[str], task: Kind) -> Vectors:
        """The vectors of texts."""
        return self.represent(
            self.encoder.preprocess(list(texts), prompt=prompt_of(self.encoder, task), task=task), task
        )

    def forward(self, queries: Features, documents: Features) -> Tensor:
        """Scores of tokenised queries against tokenised documents, shape (queries, documents)."""
        return self.score(self.represent(queries, "query"), self.represent(documents, "document"))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder.device

    def save(self, folder: Path) -> None:
        """Write encoder, settings and own weights into an existing folder, safetensors only."""
        self.encoder.save_pretrained(str(folder), create_model_card=False)
        save_file({name: value.contiguous() for name, value in self._own_weights().items()}, folder / WEIGHTS)
        write_json(folder / SETTINGS, {"scorer": self.kind, "settings": self.settings})

    def load_own_weights(self, folder: Path) -> None:
        """Take the weights that `save` wrote beside the encoder.

        Raises:
            InputError: they are not this scorer's.
        """
        weights, own = load_file(folder / WEIGHTS), self._own_weights()
        if {name: value.shape for name, value in weights.items()} != {n: v.shape for n, v in own.items()}:
            raise InputError(f"'{folder / WEIGHTS}' does not hold the weights of a {self.kind} scorer.")
        self.load_state_dict(weights, strict=False)

    def _own_weights(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.state_dict().items() if not name.startswith("encoder.")}


def transformer_alone(start: SentenceTransformer) -> SentenceTransformer:
    """A retriever's transformer without pooling and what follows it."""
    return with_modules(start, [transformers_of(start)[0]])
