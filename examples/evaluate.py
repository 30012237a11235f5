"""Evaluate a sentence-transformers retriever on a BEIR folder, beside BM25 and their fusion.

    python examples/evaluate.py runs/scifact data/scifact

`hf-cocondenser evaluate` adds significance, several data sets and a report; this script shows the parts.
"""

from __future__ import annotations

import argparse

from hf_cocondenser.evaluation.measures import evaluate_run
from hf_cocondenser.retrieval import (
    BM25Index,
    dense_search,
    load_retrieval_data,
    load_retriever,
    reciprocal_rank_fusion,
)

MEASURES = ["nDCG@10", "MRR@10", "Recall@100"]


def main() -> None:
    """Search with both, fuse, and print a Markdown table of trec_eval's measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a retriever: folder or Hub id")
    parser.add_argument("data", help="a BEIR folder")
    parser.add_argument("--split", default="test")
    options = parser.parse_args()

    data = load_retrieval_data(options.data, options.split)
    model = load_retriever(options.model)  # dot product or cosine: the retriever says which
    lexical = BM25Index.build(data.corpus).search(data.queries, 100)
    dense = dense_search(model, data.queries, data.corpus, 100)
    runs = {"BM25": lexical, "dense": dense, "fusion": reciprocal_rank_fusion([lexical, dense])}
    print("| | " + " | ".join(MEASURES) + " |\n|---|" + "---|" * len(MEASURES))
    for name, run in runs.items():
        means, _ = evaluate_run(data.qrels, run, MEASURES)
        print(f"| {name} | " + " | ".join(f"{means[measure]:.4f}" for measure in MEASURES) + " |")


if __name__ == "__main__":
    main()
