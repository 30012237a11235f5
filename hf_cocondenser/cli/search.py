"""`hf-cocondenser search`: encode a corpus and answer queries."""

from __future__ import annotations

import textwrap
from functools import wraps
from typing import Any

from hf_cocondenser.cli.command import Command
from hf_cocondenser.retrieval.search import Searched, search_corpus


@wraps(search_corpus)
def run(**arguments: Any) -> Searched | None:
    """Search; the documents are printed where no run file is written."""
    searched = search_corpus(**arguments)
    return None if arguments["output"] else searched


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
    run=run,
    target="model",
    show=_printed,
    names={"queries": "query", "queries_file": "queries"},
)
