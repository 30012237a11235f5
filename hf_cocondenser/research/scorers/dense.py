"""One vector per text: our own retriever, tied or (as DPR) with two encoders, in the scorers' clothes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import functional as F

from hf_cocondenser.research.scorers.base import Scorer
from hf_cocondenser.research.scorers.vectors import Vectors
from hf_cocondenser.retrieval.encode import Features, Kind

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class DenseScorer(Scorer):
    """Dot product or cosine, whichever is the retriever's own."""

    kind = "dense"

    @classmethod
    def from_retriever(cls, start: SentenceTransformer, **settings: Any) -> DenseScorer:
        """The retriever itself."""
        return cls(start, **settings)

    def represent_batch(self, features: Features, task: Kind) -> Vectors:
        """The retriever's vector."""
        vectors = self.encoder(features, task=task)["sentence_embedding"]
        return Vectors.single(F.normalize(vectors, dim=-1) if self.encoder.similarity_fn_name == "cosine" else vectors)

    def score(self, queries: Vectors, documents: Vectors) -> Tensor:
        """Dot products."""
        return queries.tokens[:, 0] @ documents.tokens[:, 0].T
