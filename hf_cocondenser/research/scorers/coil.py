"""COIL (arXiv 2104.07186): like tokens alone are compared, by contextual vectors; plus the dot product of CLS."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hf_cocondenser.research.scorers.base import Scorer
from hf_cocondenser.research.scorers.vectors import Vectors
from hf_cocondenser.retrieval.encode import Features, Kind


class COIL(Scorer):
    """COIL-full: `dimension` of the tokens' vectors; the first token's is projected at its own size."""

    kind = "coil"
    stores_keys = True

    def __init__(self, encoder: Any, dimension: int = 32) -> None:
        super().__init__(encoder, dimension=dimension)
        hidden = encoder[0].get_embedding_dimension()
        self.token = nn.Linear(hidden, dimension, device=encoder.device)
        self.cls = nn.Linear(hidden, hidden, device=encoder.device)
        self.special = torch.tensor(encoder.tokenizer.all_special_ids)

    def represent_batch(self, features: Features, task: Kind) -> Vectors:
        """Vectors of the tokens that mean something, and of the first one."""
        output = self.encoder(features, task=task)
        hidden, ids = output["token_embeddings"], output["input_ids"]
        counts = output["attention_mask"].bool() & ~torch.isin(ids, self.special.to(ids.device))
        return Vectors.several(self.token(hidden), torch.where(counts, ids, -1), self.cls(hidden[:, 0]))

    def score(self, queries: Vectors, documents: Vectors) -> Tensor:
        """Equations 3 and 6 of the paper: a query token that the document does not have adds nothing."""
        equal = queries.keys[:, None, :, None] == documents.keys[None, :, None, :]  # (queries, documents, s, t)
        equal &= queries.mask[:, None, :, None]
        dots = torch.einsum("qsh,dth->qdst", queries.tokens, documents.tokens)
        best = dots.masked_fill(~equal, torch.finfo(dots.dtype).min).amax(dim=-1)
        return torch.where(equal.any(dim=-1), best, 0.0).sum(dim=-1) + queries.whole @ documents.whole.T
