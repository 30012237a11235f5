"""ME-BERT (arXiv 2005.00181): a document has the vectors of its first m tokens, a query one; the best dot product."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hf_cocondenser.research.scorers.base import Scorer
from hf_cocondenser.research.scorers.vectors import Vectors
from hf_cocondenser.retrieval.encode import Features, Kind


class MEBERT(Scorer):
    """`vectors` (m) of a document; a shorter one has as many as tokens."""

    kind = "me-bert"

    def __init__(self, encoder: Any, vectors: int = 8) -> None:
        super().__init__(encoder, vectors=vectors)

    def represent_batch(self, features: Features, task: Kind) -> Vectors:
        """The first token's vector of a query, the first m of a document."""
        output = self.encoder(features, task=task)
        first = 1 if task == "query" else self.settings["vectors"]
        keys = torch.where(output["attention_mask"].bool(), output["input_ids"], -1)
        return Vectors.several(output["token_embeddings"][:, :first], keys[:, :first])

    def score(self, queries: Vectors, documents: Vectors) -> Tensor:
        """max_j q d_j, which is sentence-transformers' MaxSim of a query with one vector (float32)."""
        from sentence_transformers.util import maxsim

        return maxsim(queries.tokens, documents.tokens, a_mask=queries.mask, b_mask=documents.mask)
