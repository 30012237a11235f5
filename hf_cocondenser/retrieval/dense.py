"""Dense search over a corpus: encode, index or not, and give a run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.embeddings import encode_corpus
from hf_cocondenser.retrieval.encode import Encoder
from hf_cocondenser.retrieval.index import FaissIndex
from hf_cocondenser.retrieval.milvus import MilvusIndex
from hf_cocondenser.retrieval.retriever import fingerprint
from hf_cocondenser.retrieval.runs import Run
from hf_cocondenser.retrieval.similarity import Similarity, choose_similarity
from hf_cocondenser.retrieval.topk import Matrix, exact_top_k, normalized
from hf_cocondenser.utils.distributed import cpu_threads, on_first, processes
from hf_cocondenser.utils.hashes import hash_texts
from hf_cocondenser.utils.locks import folder_lock, lock_file

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["DenseSearcher", "dense_search", "exact_top_k", "normalized", "to_run"]


@dataclass
class DenseSearcher:
    """A retriever with its encoded corpus.

    Attributes:
        encoder: encodes the queries.
        ids: document ids in row order.
        vectors: shape (documents, dimension); None where Milvus has them all.
        cosine: whether scores are cosines (else dot products).
        index: over `vectors`; None searches exactly.
        index_parameters: the index's search parameters, such as `nprobe=64`.
    """

    encoder: Encoder
    ids: Sequence[str]
    vectors: Matrix | None
    cosine: bool
    index: FaissIndex | MilvusIndex | None = None
    index_parameters: str | None = None

    @classmethod
    def build(
        cls,
        model: SentenceTransformer,
        corpus: Mapping[str, str],
        *,
        cache_dir: str | Path | None = None,
        index: str | None = None,
        index_parameters: str | None = None,
        milvus: str | None = None,
        similarity: Similarity | None = None,
        force: bool = False,
        precision: str = "auto",
        show_progress: bool = False,
    ) -> DenseSearcher:
        """Encode a corpus (and index it, where asked).

        Args:
            model: the retriever.
            corpus: document id -> text.
            cache_dir: folder for the embeddings and the index, to go on in and to use again; None keeps them in memory.
            index: FAISS factory string; None searches exactly. With `milvus`, Milvus' index type.
            index_parameters: the index's search parameters.
            milvus: search over Milvus at this address (a path ending in .db is the embedded engine); of several processes,
                which must all name it, the first is connected to it and can search.
            similarity: what vectors are compared by; by default the retriever's own.
            force: take a similarity that the retriever was not made for.
            precision: `auto`, `float32` or `bfloat16`.
            show_progress: show bars.

        Raises:
            InputError: the corpus is empty, the similarity does not fit, or what is in `cache_dir` is of another
                retriever or corpus.
        """
        if not corpus:
            raise InputError("The corpus is empty, so there is nothing to search.")
        cosine = choose_similarity(model, similarity, force=force) == "cosine"
        encoder = Encoder(model, precision=precision, threads=cpu_threads())
        ids = list(corpus)
        store = None
        if milvus is not None:
            if processes().is_main_process:
                store = MilvusIndex(
                    milvus,
                    retriever=fingerprint(model),
                    corpus=hash_texts(corpus.items()),
                    dimension=encoder.dimension,
                    cosine=cosine,
                    kind=index or "AUTOINDEX",
                )
            # Together: a process that went on to encode would wait for those that do not.
            if on_first(lambda: store is not None and len(store) == len(ids)):
                return cls(encoder, ids, None, cosine, store, index_parameters)
        if cache_dir is None:
            vectors: Matrix = encoder.encode(list(corpus.values()), show_progress=show_progress)
            source = None
        else:
            folder = Path(cache_dir)
            stored = encode_corpus(
                model, corpus, folder / "embeddings", precision=precision, show_progress=show_progress
            )
            vectors, source = stored.vectors, stored.manifest
        if milvus is not None:
            if store is not None:
                store.fill(ids, vectors, show_progress=show_progress)
            return cls(encoder, ids, vectors, cosine, store, index_parameters)
        if index is None:
            return cls(encoder, ids, vectors, cosine)
        place = None if cache_dir is None else Path(cache_dir) / f"index-{_index_name(index, cosine)}"
        with (
            folder_lock(place, wait=True)
            if place is not None and (not place.exists() or lock_file(place).exists())
            else nullcontext()
        ):
            if place is not None and place.exists():  # another process may just have built it
                built = FaissIndex.load(place, source=source, cosine=cosine)
            else:
                built = FaissIndex.build(vectors, index, cosine=cosine, source=source, show_progress=show_progress)
                if place is not None:
                    built.save(place)
        return cls(encoder, ids, vectors, cosine, built, index_parameters)

    def search(self, queries: Mapping[str, str], k: int = 100, *, exclude_same_id: bool = False) -> Run:
        """The best `k` documents for each query (without the one of the query's own id, where asked)."""
        vectors = self.encoder.encode(list(queries.values()), kind="query")
        depth = k + 1 if exclude_same_id else k
        if self.index is None:
            assert self.vectors is not None
            device = self.encoder.model.device
            scores, rows = exact_top_k(vectors, self.vectors, depth, cosine=self.cosine, device=device)
        else:
            scores, rows = self.index.search(vectors, depth, rescore=self.vectors, parameters=self.index_parameters)
        return to_run(list(queries), self.ids, scores, rows, k, exclude_same_id)


def _index_name(factory: str, cosine: bool) -> str:
    return f"{'cosine' if cosine else 'dot'}-{re.sub(r'[^0-9A-Za-z_]+', '-', factory)}"


def dense_search(
    model: SentenceTransformer,
    queries: Mapping[str, str],
    corpus: Mapping[str, str],
    k: int = 100,
    *,
    exclude_same_id: bool = False,
    precision: str = "auto",
    show_progress: bool = False,
) -> Run:
    """Encode queries and corpus and search exactly with the retriever's own similarity.

    Args:
        model: the retriever.
        queries: query id -> text.
        corpus: document id -> text.
        k: hits per query.
        exclude_same_id: leave out the document that has the query's own id.
        precision: `auto`, `float32` or `bfloat16`.
        show_progress: show bars.

    Raises:
        InputError: the corpus is empty, or the retriever's similarity cannot be searched.
    """
    searcher = DenseSearcher.build(model, corpus, precision=precision, show_progress=show_progress)
    return searcher.search(queries, k, exclude_same_id=exclude_same_id)


def to_run(
    query_ids: Sequence[str],
    document_ids: Sequence[str],
    scores: np.ndarray,
    rows: np.ndarray,
    k: int | None = None,
    exclude_same_id: bool = False,
) -> Run:
    """Search results as a run of at most `k` hits a query; rows of -1 (no hit) are left out."""
    run: Run = {}
    for query, hits, values in zip(query_ids, rows.tolist(), scores.tolist(), strict=True):
        found = [(document_ids[row], value) for row, value in zip(hits, values, strict=True) if row >= 0]
        run[query] = dict([hit for hit in found if not (exclude_same_id and hit[0] == query)][:k])
    return run
