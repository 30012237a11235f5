"""`hf-cocondenser scorers`: compare ways of scoring."""

from __future__ import annotations

from hf_cocondenser.cli.command import Command
from hf_cocondenser.research.scorers.compare import compare_scorers

COMMAND = Command(
    summary="Train several kinds of scorers alike (one vector, DPR, RocketQA, ColBERT, ME-BERT, Poly-encoder, COIL) and compare"
    " quality, time per query and bytes per document.",
    examples="""  hf-cocondenser scorers bert-base-uncased --data data/scifact --output-dir runs/scorers
  hf-cocondenser scorers runs/encoder --data data/squad --scorers dense colbert --test-queries 1000 --output-dir runs/two
The same command again goes on where it stopped, and does nothing that is already done.""",
    run=compare_scorers,
    target="checkpoint",
    show=str,
)
