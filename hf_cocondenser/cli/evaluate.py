"""`hf-cocondenser evaluate`: measure a retriever beside BM25."""

from __future__ import annotations

from hf_cocondenser.cli.command import Command
from hf_cocondenser.evaluation.evaluate import evaluate_retriever

COMMAND = Command(
    summary="Measure a retriever on BEIR-format data with trec_eval's measures, beside BM25, with significance.",
    examples="""  hf-cocondenser evaluate runs/retriever --data data/scifact --output-dir runs/scifact
  hf-cocondenser evaluate runs/retriever --data data/scifact data/nfcorpus --hybrid --output-dir runs/two
  torchrun --nproc-per-node 4 -m hf_cocondenser evaluate runs/retriever --data data/nq --cache-dir cache/nq --output-dir runs/nq
The similarity (dot or cosine) is the retriever's own.""",
    run=evaluate_retriever,
    target="model",
    show=str,
)
