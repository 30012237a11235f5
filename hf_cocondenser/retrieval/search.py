"""Answering queries on a corpus: the whole of `hf-cocondenser search`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_cocondenser.data.reading.columns import Columns
from hf_cocondenser.data.surrogates import without_lone_surrogates
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.bm25 import BM25Index
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.collections.corpora import load_corpus, load_queries
from hf_cocondenser.retrieval.collections.loading import load_data_sets
from hf_cocondenser.retrieval.dense import DenseSearcher
from hf_cocondenser.retrieval.encode import Precision
from hf_cocondenser.retrieval.fusion import reciprocal_rank_fusion
from hf_cocondenser.retrieval.parquet import write_embeddings
from hf_cocondenser.retrieval.retriever import fingerprint, load_retriever
from hf_cocondenser.retrieval.runs import Run, ranked, require_run_ids, write_run
from hf_cocondenser.retrieval.similarity import Similarity
from hf_cocondenser.utils.distributed import local_device, processes
from hf_cocondenser.utils.files import require_new_file, require_new_folder

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer

_FUSED_DEPTH = 100  # of each list: deeper hits weigh less than 1 / 160


@dataclass(frozen=True)
class Searched:
    """What was asked and found.

    Attributes:
        queries: query id -> text.
        run: the hits.
        corpus: document id -> text with title.
        titles: document id -> title.
    """

    queries: dict[str, str]
    run: Run
    corpus: dict[str, str]
    titles: dict[str, str]

    def hits(self, query: str) -> list[tuple[str, float]]:
        """Documents and scores of a query, best first."""
        return ranked(self.run.get(query, {}))

    def body(self, document: str) -> str:
        """A document's text without its title."""
        return self.corpus[document][len(self.titles.get(document, "")) :].lstrip()


def search_corpus(
    model: str | Path | SentenceTransformer,
    corpus: str | Path | Mapping[Any, Any] | Dataset | None = None,
    *,
    data: str | Path | RetrievalData | None = None,
    split: str = "auto",
    queries: Sequence[str] = (),
    queries_file: str | Path | None = None,
    k: int = 10,
    output: str | Path | None = None,
    hybrid: bool = False,
    bm25_language: str = "auto",
    similarity: Similarity | None = None,
    force: bool = False,
    precision: Precision = "auto",
    cache_dir: str | Path | None = None,
    index: str | None = None,
    index_parameters: str | None = None,
    milvus: str | None = None,
    parquet_dir: str | Path | None = None,
    columns: Columns | None = None,
) -> Searched | None:
    """Search a corpus, or a judged collection with its own queries.

    From Python the corpus may also be a dictionary (id -> text), a `datasets` data set or `RetrievalData`; so may `data` be
    the last.

    Under torchrun or accelerate launch the processes share the encoding; they need `cache_dir`.

    Args:
        model: folder or Hub name of a retriever in sentence-transformers layout, or the loaded retriever.
        corpus: documents: a BEIR folder, or a file or folder of JSON lines, Parquet, CSV, text.
        data: instead of a corpus: a judged collection, its documents and the queries of a split.
        split: which of its queries (auto: the data set's own).
        queries: texts of queries; their ids are 1, 2 and so on.
        queries_file: file of queries: queries.jsonl, lines 'id<TAB>text', or one a line.
        k: documents for each query.
        output: TREC run file to write; one of the name is replaced (default: none; the command prints the documents).
        hybrid: fuse BM25 and the retriever by reciprocal ranks.
        bm25_language: stop words and stemming: english, german ..., cjk, none.
        similarity: what vectors are compared by (default: the retriever's own).
        force: take a similarity that the retriever was not made for.
        precision: of the encoding; auto is bfloat16 where the hardware multiplies it.
        cache_dir: folder for embeddings and index: kept, resumed, shared by processes; without queries only filled.
        index: FAISS index such as HNSW32 or IVF1024,PQ48 (default: an exact search).
        index_parameters: the index's search parameters such as nprobe=64.
        milvus: search over Milvus: FILE.db (embedded) or a server's address; index is then its index type.
        parquet_dir: new folder: write ids, texts and embeddings as a Parquet data set.
        columns: those of documents and queries that are named otherwise than usual.

    Returns:
        What was found; None in every process but the first.

    Raises:
        InputError: something named is not there, does not fit or would not be used, or there is nothing to do.
    """
    if (corpus is None) == (data is None):
        raise InputError("Name the documents (corpus), or a judged collection (data), one of them.")
    if k < 1:
        raise InputError(f"{k} documents were asked for each query; ask for at least one.")
    if split != "auto" and data is None:
        raise InputError(
            f"Nothing uses the split '{split}' without a judged collection; leave it out, or name the data."
        )
    if bm25_language != "auto" and not hybrid:
        raise InputError(
            f"Nothing uses the language '{bm25_language}' of BM25 without BM25; leave it out, or add hybrid."
        )
    if output is not None:
        require_new_file(output)
    asked = {str(number): without_lone_surrogates(text) for number, text in enumerate(queries, start=1)}
    if queries_file is not None:
        if asked:
            raise InputError("Give queries or a file of queries, not both.")
        asked = load_queries(queries_file, columns)
    same_ids = False  # the ids of queries that a user brings say nothing of documents
    if data is not None:
        (collection,) = load_data_sets(data, split, columns=columns)
        texts, titles = collection.corpus, collection.titles
        if not asked:
            asked, same_ids = collection.queries, collection.protocol.exclude_same_id
    else:
        texts, titles = load_corpus(corpus, columns)
    if not asked and cache_dir is None and parquet_dir is None and milvus is None:
        raise InputError(
            "There is no query; give some, or say where the embeddings should go to only encode the corpus."
        )
    if index_parameters is not None and index is None and milvus is None:
        raise InputError(
            "Search parameters are an index's, and the search is exact; name an index too, or leave them out."
        )
    if parquet_dir is not None:
        require_new_folder(parquet_dir)
    if output is not None:
        require_run_ids(asked, texts)
    first = processes().is_main_process
    if processes().num_processes > 1 and cache_dir is None:
        raise InputError("Several processes share their work through a folder: name one (cache_dir).")
    if isinstance(model, str | Path):
        model = load_retriever(model, device=local_device())
    searcher = DenseSearcher.build(
        model,
        texts,
        cache_dir=cache_dir,
        index=index if first else None,
        index_parameters=index_parameters,
        milvus=milvus,
        similarity=similarity,
        force=force,
        precision=precision,
        show_progress=first,
    )
    if not first:
        return None
    if parquet_dir is not None:
        vectors = searcher.vectors
        if vectors is None:  # all of them are in Milvus
            vectors = searcher.encoder.encode(list(texts.values()), show_progress=True)
        about = {
            "retriever": fingerprint(model),
            "score": "cosine" if searcher.cosine else "dot",
            "precision": searcher.encoder.precision,
        }
        write_embeddings(parquet_dir, searcher.ids, vectors, texts, titles, about=about, show_progress=True)
    depth = max(k, _FUSED_DEPTH) if hybrid else k
    run = searcher.search(asked, depth, exclude_same_id=same_ids)
    if hybrid and asked:
        bm25 = BM25Index.build(texts, language=bm25_language).search(asked, depth, exclude_same_id=same_ids)
        run = reciprocal_rank_fusion([bm25, run], depth=k)
    if output is not None:
        write_run(output, run)
    return Searched(asked, run, texts, titles)
