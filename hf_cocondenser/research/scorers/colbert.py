"""ColBERT (arXiv 2004.12832): every token has a vector; sum over the query's of the best cosine in the document."""

from __future__ import annotations

import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hf_cocondenser.research.scorers.base import Scorer, transformer_alone
from hf_cocondenser.research.scorers.vectors import Vectors
from hf_cocondenser.retrieval.encode import Features, Kind
from hf_cocondenser.utils.loading import load_whole

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer


class ColBERT(Scorer):
    """sentence-transformers' `MultiVectorEncoder`, which also loads what this saves.

    Vectors are projected to `dimension` and have length 1; punctuation has none in documents. Queries are not filled
    up with mask tokens, and texts carry no marker of their side.
    """

    kind = "colbert"

    @classmethod
    def from_retriever(cls, start: SentenceTransformer, **settings: Any) -> ColBERT:
        """A random projection on the retriever's transformer."""
        from sentence_transformers import MultiVectorEncoder
        from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
        from sentence_transformers.sentence_transformer.modules import Dense, Normalize

        transformer = transformer_alone(start)[0]
        hidden, dimension = transformer.get_embedding_dimension(), settings.get("dimension", 128)
        return cls(
            MultiVectorEncoder(
                modules=[
                    transformer,
                    Dense(
                        hidden, dimension, bias=False, activation_function=None, module_input_name="token_embeddings"
                    ),
                    MultiVectorMask(skiplist_words=_punctuation(start.tokenizer)),
                    Normalize(module_input_name="token_embeddings"),
                ],
                prompts=start.prompts,
                default_prompt_name=start.default_prompt_name,
                device=str(start.device),
            ),
            dimension=dimension,
        )

    @classmethod
    def load_encoder(cls, folder: Path, device: str | None = None) -> MultiVectorEncoder:
        """The `MultiVectorEncoder` that `save` wrote."""
        from sentence_transformers import MultiVectorEncoder

        return load_whole(MultiVectorEncoder, "The scorer", folder, device=device)

    def represent_batch(self, features: Features, task: Kind) -> Vectors:
        """Unit vectors of the tokens that count."""
        output = self.encoder(features, task=task)
        keys = torch.where(output["attention_mask"].bool(), output["input_ids"], -1)
        return Vectors.several(output["token_embeddings"], keys)

    def score(self, queries: Vectors, documents: Vectors) -> Tensor:
        """Equation 3 of the paper, by sentence-transformers' own function (float32)."""
        from sentence_transformers.util import maxsim

        return maxsim(queries.tokens, documents.tokens, a_mask=queries.mask, b_mask=documents.mask)


def _punctuation(tokenizer: Any) -> list[str]:
    """The signs that are tokens of their own."""
    vocabulary = tokenizer.get_vocab()
    return [sign for sign in string.punctuation if sign in vocabulary]
