"""The kinds of scorers: one vector, every token's vector (ColBERT, COIL), the first few (ME-BERT), codes (Poly-encoder)."""

from __future__ import annotations

import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hf_cocondenser.errors import InputError
from hf_cocondenser.research.scorers.base import MODEL, SETTINGS, Scorer, transformer_alone
from hf_cocondenser.research.scorers.vectors import Vectors
from hf_cocondenser.retrieval.encode import Features, Kind
from hf_cocondenser.retrieval.retriever import load_retriever
from hf_cocondenser.utils.files import read_json
from hf_cocondenser.utils.loading import load_whole, loading

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer


class DenseScorer(Scorer):
    """One vector per text: our own retriever, tied or (as DPR) with two encoders, compared by its own similarity."""

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


class ColBERT(Scorer):
    """ColBERT (arXiv 2004.12832): sum over the query's tokens of the best cosine with one of the document's.

    sentence-transformers' `MultiVectorEncoder`, which also loads what this saves. Vectors are projected to `dimension`
    and have length 1; punctuation has none in documents. Queries are not filled up with mask tokens, and texts carry no
    marker of their side.
    """

    kind = "colbert"

    @classmethod
    def from_retriever(cls, start: SentenceTransformer, **settings: Any) -> ColBERT:
        """A random projection on the retriever's transformer."""
        from sentence_transformers import MultiVectorEncoder
        from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
        from sentence_transformers.sentence_transformer.modules import Dense, Normalize

        transformer, tokens = transformer_alone(start)[0], "token_embeddings"
        hidden, dimension = transformer.get_embedding_dimension(), settings.get("dimension", 128)
        signs = [sign for sign in string.punctuation if sign in start.tokenizer.get_vocab()]
        encoder = MultiVectorEncoder(
            modules=[
                transformer,
                Dense(hidden, dimension, bias=False, activation_function=None, module_input_name=tokens),
                MultiVectorMask(skiplist_words=signs),
                Normalize(module_input_name=tokens),
            ],
            prompts=start.prompts,
            default_prompt_name=start.default_prompt_name,
            device=str(start.device),
        )
        return cls(encoder, dimension=dimension)

    @classmethod
    def load_encoder(cls, folder: Path, device: str | None = None) -> MultiVectorEncoder:
        """The `MultiVectorEncoder` that `save` wrote."""
        from sentence_transformers import MultiVectorEncoder

        return load_whole(MultiVectorEncoder, "The scorer", folder, device=device)

    def represent_batch(self, features: Features, task: Kind) -> Vectors:
        """Unit vectors of the tokens that count."""
        output = self.encoder(features, task=task)
        return Vectors.several(output["token_embeddings"], _keys(output))

    def score(self, queries: Vectors, documents: Vectors) -> Tensor:
        """Equation 3 of the paper, by sentence-transformers' own function (float32)."""
        return _maxsim(queries, documents)


class MEBERT(Scorer):
    """ME-BERT (arXiv 2005.00181): the best dot product of the query's vector with one of the document's.

    A document has the vectors of its first `vectors` (m) tokens, a shorter one as many as tokens; a query has one.
    """

    kind = "me-bert"

    def __init__(self, encoder: Any, vectors: int = 8) -> None:
        super().__init__(encoder, vectors=vectors)

    def represent_batch(self, features: Features, task: Kind) -> Vectors:
        """The first token's vector of a query, the first m of a document."""
        output = self.encoder(features, task=task)
        first = 1 if task == "query" else self.settings["vectors"]
        return Vectors.several(output["token_embeddings"][:, :first], _keys(output)[:, :first])

    def score(self, queries: Vectors, documents: Vectors) -> Tensor:
        """max_j q d_j, which is MaxSim of a query with one vector."""
        return _maxsim(queries, documents)


class PolyEncoder(Scorer):
    """Poly-encoder (arXiv 1905.01969): learned codes attend over the query, the document over what they found.

    A query has `codes` (m) vectors, a document one (its first token's).
    """

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


class COIL(Scorer):
    """COIL-full (arXiv 2104.07186): like tokens alone are compared, by contextual vectors; plus the dot product of CLS.

    Tokens have `dimension` numbers; the first token's vector is projected at its own size.
    """

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
        hidden, keys = output["token_embeddings"], _keys(output)
        keys = keys.masked_fill(torch.isin(keys, self.special.to(keys.device)), -1)
        return Vectors.several(self.token(hidden), keys, self.cls(hidden[:, 0]))

    def score(self, queries: Vectors, documents: Vectors) -> Tensor:
        """Equations 3 and 6 of the paper: a query token that the document does not have adds nothing."""
        equal = queries.keys[:, None, :, None] == documents.keys[None, :, None, :]  # (queries, documents, s, t)
        equal &= queries.mask[:, None, :, None]
        dots = torch.einsum("qsh,dth->qdst", queries.tokens, documents.tokens)
        best = dots.masked_fill(~equal, torch.finfo(dots.dtype).min).amax(dim=-1)
        return torch.where(equal.any(dim=-1), best, 0.0).sum(dim=-1) + queries.whole @ documents.whole.T


TRAINED_HERE: dict[str, type[Scorer]] = {cls.kind: cls for cls in (ColBERT, MEBERT, PolyEncoder, COIL)}


def load_scorer(folder: str | Path, device: str | None = None) -> Scorer:
    """Read a scorer that `Scorer.save` wrote, or a retriever, which scores by its one vector.

    Args:
        folder: the scorer's, or the one that `scorers` trained it in (`models/NAME`).
        device: where to put it.

    Raises:
        InputError: the folder holds neither.
    """
    path = Path(folder)
    if (path / MODEL / SETTINGS).is_file():
        path = path / MODEL
    if not (path / SETTINGS).is_file():
        return DenseScorer.from_retriever(load_retriever(folder, device=device))
    record = read_json(path / SETTINGS, {"scorer": str, "settings": dict})
    cls = TRAINED_HERE.get(record.get("scorer"))
    if cls is None:
        raise InputError(f"'{path / SETTINGS}' names no scorer among {', '.join(TRAINED_HERE)}.")
    with loading("The scorer", path):
        scorer = cls(cls.load_encoder(path, device), **record["settings"])
        scorer.load_own_weights(path)
    return scorer.eval()


def _keys(output: Features) -> Tensor:
    """The ids of tokens, -1 where there is none."""
    return torch.where(output["attention_mask"].bool(), output["input_ids"], -1)


def _maxsim(queries: Vectors, documents: Vectors) -> Tensor:
    from sentence_transformers.util import maxsim

    return maxsim(queries.tokens, documents.tokens, a_mask=queries.mask, b_mask=documents.mask)
