"""What a retriever says of itself: architecture, vector, similarity, lengths, prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_SIMILARITY = {"dot": "dot product", "cosine": "cosine"}


@dataclass(frozen=True)
class RetrieverFacts:
    """Facts for a model card.

    Attributes:
        architecture: family, layers, width and parameters, in words.
        dimension: of the vectors.
        pooling: how a text's vector is made, in words.
        similarity_words: what vectors are compared with, in words.
        unit_vectors: whether scores are cosines.
        max_length: tokens per text, special tokens included.
        lengths: the same in words, by kind of text where they differ.
        prompts: what is put before texts, by kind of text.
        plain: one encoder with CLS pooling, which a few lines of transformers use as well.
    """

    architecture: str
    dimension: int
    pooling: str
    similarity_words: str
    unit_vectors: bool
    max_length: int
    lengths: str
    prompts: dict[str, str]
    plain: bool

    @property
    def score_range(self) -> str:
        """Bounds of the scores, in words."""
        return "-1 to 1" if self.unit_vectors else "unbounded; higher is more relevant"


def retriever_facts(retriever: SentenceTransformer) -> RetrieverFacts:
    """Read the facts off a loaded retriever."""
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    encoders = [module for module in retriever.modules() if isinstance(module, Transformer)]
    poolings = [module for module in retriever.modules() if isinstance(module, Pooling)]
    config = encoders[0].auto_model.config
    projections = [module for module in retriever.modules() if isinstance(module, Dense)]
    projected = f", projected to {projections[-1].out_features} dimensions" if projections else ""
    parameters = sum(p.numel() for p in retriever.parameters())
    normalized = isinstance(retriever[len(retriever) - 1], Normalize)
    similarity = str(retriever.similarity_fn_name)
    mode = poolings[0].pooling_mode if poolings else "cls"
    lengths = {"query": encoders[0].query_length, "passage": encoders[-1].document_length}
    return RetrieverFacts(
        architecture=f"{'two encoders, each ' if len(encoders) > 1 else ''}{config.model_type}, "
        f"{config.num_hidden_layers} layers of width {config.hidden_size}; {parameters:,} parameters in all",
        dimension=retriever.get_embedding_dimension(),
        pooling=f"{'CLS' if mode == 'cls' else mode} pooling{projected}{', normalised to length 1' if normalized else ''}",
        similarity_words=_SIMILARITY.get(similarity, similarity),
        unit_vectors=normalized or similarity == "cosine",
        max_length=retriever.max_seq_length,
        lengths=", ".join(f"{n} tokens per {kind}" for kind, n in lengths.items())
        if all(lengths.values())
        else f"{retriever.max_seq_length} tokens",
        prompts={name: prompt for name, prompt in retriever.prompts.items() if prompt},
        plain=len(encoders) == 1 and mode == "cls" and len(list(retriever)) - normalized == 2,
    )
