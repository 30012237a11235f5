"""Poly-encoder (arXiv 1905.01969): learned codes attend over the query, the document attends over what they found."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hf_cocondenser.research.scorers.base import Scorer
from hf_cocondenser.research.scorers.vectors import Vectors
from hf_cocondenser.retrieval.encode import Features, Kind


class PolyEncoder(Scorer):
    """`codes` (m) vectors of a query, one of a document (its first token's)."""

    kind = "poly-encoder"

    def __init__(self, encoder: Any, codes: int = 16) -> None:
        super().__init__(encoder, codes=codes)
        hidden = encoder[0].get_embedding_dimension()
        # After a layer norm a vector has length sqrt(hidden): the first attention is then neither flat nor one-sided.
        self.codes = nn.Parameter(torch.randn(codes, hidden, device=encoder.device) / hidden**0.5)

    def represent_batch(self, features: Features, task: Kind) -> Vectors:
        """Of a query y_i = sum_t softmax_t(c_i h_t) h_t for each code c_i; of a document h_1."""
        output = self.encoder(features, task=task)
        hidden = output["token_embeddings"]  # (n, t, d)
        if task == "document":
            return Vectors.single(hidden[:, 0])
        attention = hidden @ self.codes.T  # (n, t, m)
        attention = attention.masked_fill(~output["attention_mask"].bool()[..., None], -torch.inf).softmax(dim=1)
        found = attention.transpose(1, 2) @ hidden  # (n, m, d)
        return Vectors.several(found, torch.zeros(found.shape[:2], dtype=torch.long, device=found.device))

    def score(self, queries: Vectors, documents: Vectors) -> Tensor:
        """sum_i softmax_i(y_i d) y_i d, the dot product of the document with its own view of the query."""
        dots = torch.einsum("qmh,dh->qdm", queries.tokens, documents.tokens[:, 0])
        return (dots.softmax(dim=-1) * dots).sum(dim=-1)
