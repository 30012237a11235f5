"""`hf-cocondenser evaluate`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from hf_cocondenser.cli.command import Command


@dataclass
class EvaluateArguments:
    """What to measure on, and how."""

    data: list[str] = field(
        metadata={"help": "BEIR folders (or other sources of judged collections); several at once"}
    )
    output_dir: str = field(metadata={"help": "new folder for runs, values by query, tables and the report"})
    name: str | None = field(
        default=None, metadata={"help": "what to call the retriever (default: its folder's name)"}
    )
    split: str | None = field(
        default=None, metadata={"help": "judgements to use (default: the data set's own, mostly test)"}
    )
    measures: list[str] = field(
        default_factory=lambda: ["nDCG@10", "MRR@10", "Recall@100"],
        metadata={"help": "nDCG@k, MRR@k, Recall@k, MAP, Success@k, P@k, Answer@k; the first is drawn"},
    )
    bm25: bool = field(default=True, metadata={"help": "show BM25 beside the retriever"})
    bm25_language: str = field(
        default="auto", metadata={"help": "stop words and stemming: english, german ..., cjk, none"}
    )
    hybrid: bool = field(default=False, metadata={"help": "also fuse BM25 and the retriever by reciprocal ranks"})
    depth: int = field(default=100, metadata={"help": "documents retrieved for each query"})
    score_function: str | None = field(default=None, metadata={"help": "dot or cosine (default: the retriever's own)"})
    force: bool = field(default=False, metadata={"help": "take a score function the retriever was not made for"})
    precision: str = field(default="auto", metadata={"help": "auto, float32 or bfloat16"})
    index: str | None = field(
        default=None, metadata={"help": "FAISS index such as HNSW32 or IVF1024,PQ48 (default: exact)"}
    )
    index_parameters: str | None = field(default=None, metadata={"help": "FAISS search parameters such as nprobe=64"})
    cache_dir: str | None = field(
        default=None, metadata={"help": "folder for embeddings: stopped encoding goes on there, processes share it"}
    )
    protocol_lengths: bool = field(
        default=False,
        metadata={
            "help": "read texts as long as published figures of a BEIR data set do (64 and 512 tokens; 512 of ArguAna's"
            " queries, 768 of TREC-News and Robust04), as far as the retriever can"
        },
    )
    overwrite: bool = field(default=False, metadata={"help": "replace the output folder"})


def run(model: str, arguments: EvaluateArguments) -> None:
    """Evaluate `model`."""
    from hf_cocondenser.evaluation.evaluate import SearchOptions, evaluate_retriever

    options = SearchOptions(
        depth=arguments.depth,
        bm25=arguments.bm25,
        bm25_language=arguments.bm25_language,
        hybrid=arguments.hybrid,
        score=arguments.score_function,
        force_score=arguments.force,
        precision=arguments.precision,
        index=arguments.index,
        index_parameters=arguments.index_parameters,
        protocol_lengths=arguments.protocol_lengths,
    )
    evaluation = evaluate_retriever(
        model,
        arguments.data,
        arguments.output_dir,
        name=arguments.name,
        split=arguments.split,
        measures=arguments.measures,
        options=options,
        cache_dir=arguments.cache_dir,
        overwrite=arguments.overwrite,
    )
    if evaluation is not None:  # None in the helping processes of torchrun
        sys.stdout.write(f"{evaluation}\n\nWritten to {Path(arguments.output_dir) / 'report.html'}\n")


COMMAND = Command(
    summary="Measure a retriever on BEIR-format data with trec_eval's measures, beside BM25, with significance.",
    examples="""  hf-cocondenser evaluate runs/retriever --data data/scifact --output-dir runs/scifact
  hf-cocondenser evaluate runs/retriever --data data/scifact data/nfcorpus --hybrid --output-dir runs/two
  torchrun --nproc-per-node 4 -m hf_cocondenser evaluate runs/retriever --data data/nq --cache-dir cache/nq --output-dir runs/nq
The score function (dot or cosine) is the retriever's own.""",
    arguments=(EvaluateArguments,),
    run=run,
    target="model",
    target_help="folder or Hub name of a retriever in sentence-transformers layout",
)
