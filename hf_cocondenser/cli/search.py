"""`hf-cocondenser search`."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hf_cocondenser.cli.command import Command
from hf_cocondenser.errors import InputError

if TYPE_CHECKING:
    from hf_cocondenser.retrieval.search import Searched


@dataclass
class SearchArguments:
    """What to search, for what, and how."""

    corpus: str | None = field(
        default=None,
        metadata={"help": "documents: a BEIR folder, or a file or folder of JSON lines, Parquet, CSV, text"},
    )
    data: str | None = field(default=None, metadata={"help": "BEIR data set: its corpus and the queries of --split"})
    split: str = field(default="auto", metadata={"help": "which judged queries of --data (auto: the data set's own)"})
    query: list[str] | None = field(default=None, metadata={"help": "queries, each in quotes"})
    queries: str | None = field(
        default=None, metadata={"help": "file: queries.jsonl, lines 'id<TAB>text', or one a line"}
    )
    k: int = field(default=10, metadata={"help": "documents for each query"})
    output: str | None = field(
        default=None, metadata={"help": "TREC run file to write (default: print the documents)"}
    )
    hybrid: bool = field(default=False, metadata={"help": "fuse BM25 and the retriever by reciprocal ranks"})
    bm25_language: str = field(
        default="auto", metadata={"help": "stop words and stemming: english, german ..., cjk, none"}
    )
    score_function: str | None = field(default=None, metadata={"help": "dot or cosine (default: the retriever's own)"})
    force: bool = field(default=False, metadata={"help": "take a score function the retriever was not made for"})
    precision: str = field(default="auto", metadata={"help": "auto, float32 or bfloat16"})
    cache_dir: str | None = field(
        default=None, metadata={"help": "folder for embeddings and index: kept, resumed, shared by processes"}
    )
    index: str | None = field(
        default=None, metadata={"help": "FAISS index such as HNSW32 or IVF1024,PQ48 (default: exact)"}
    )
    index_parameters: str | None = field(default=None, metadata={"help": "search parameters such as nprobe=64"})
    milvus: str | None = field(
        default=None,
        metadata={
            "help": "search over Milvus: FILE.db (embedded) or a server's address; --index is then its index type"
        },
    )
    parquet_dir: str | None = field(
        default=None, metadata={"help": "new folder: write ids, texts and embeddings as a Parquet data set"}
    )


def run(model: str, arguments: SearchArguments) -> None:
    """Search with `model`."""
    from hf_cocondenser.retrieval.search import search_corpus

    if (arguments.corpus is None) == (arguments.data is None):
        raise InputError("Name the documents with --corpus, or a judged collection with --data (one of them).")
    searched = search_corpus(
        model,
        arguments.corpus,
        data=arguments.data,
        split=arguments.split,
        queries_file=arguments.queries,
        queries=arguments.query or [],
        k=arguments.k,
        output=arguments.output,
        hybrid=arguments.hybrid,
        bm25_language=arguments.bm25_language,
        score=arguments.score_function,
        force_score=arguments.force,
        precision=arguments.precision,
        cache_dir=arguments.cache_dir,
        index=arguments.index,
        index_parameters=arguments.index_parameters,
        milvus=arguments.milvus,
        parquet_dir=arguments.parquet_dir,
    )
    if searched is not None and arguments.output is None:  # None in the helping processes of torchrun
        sys.stdout.write(_printed(searched))


def _printed(searched: Searched) -> str:
    lines = []
    for query, text in searched.queries.items():
        lines.append(f"? {text}")
        hits = searched.hits(query)
        for rank, (document, score) in enumerate(hits, start=1):
            title, body = searched.titles.get(document, ""), searched.body(document)
            lines.append(f"{rank:>4}. {score:8.4f}  {document}" + (f"  {title}" if title else ""))
            lines.append(textwrap.indent(textwrap.shorten(body, 160, placeholder=" ..."), " " * 16))
        if not hits:
            lines.append("      nothing found")
        lines.append("")
    return "\n".join(lines)


COMMAND = Command(
    summary="Encode a corpus and answer queries.",
    examples="""  hf-cocondenser search runs/retriever --corpus my-documents.jsonl --query "how do whales sleep?"
  hf-cocondenser search runs/retriever --corpus data/scifact --queries questions.txt --hybrid --cache-dir cache/scifact
  hf-cocondenser search runs/retriever --data data/scifact --k 100 --output scifact.trec
  torchrun --nproc-per-node 4 -m hf_cocondenser search runs/retriever --corpus big.parquet --cache-dir cache/big
  hf-cocondenser search runs/retriever --corpus data/scifact --milvus vectors.db --query "do vaccines cause autism?"
Without a query it only fills --cache-dir, --milvus or --parquet-dir.""",
    arguments=(SearchArguments,),
    run=run,
    target="model",
    target_help="folder or Hub name of a retriever in sentence-transformers layout",
)
