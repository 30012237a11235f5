"""`python -m benchmarks.encoding MODEL`: encoding SciFact's abstracts, ours beside `SentenceTransformer.encode`.

Both encode the same texts in turns; wall and CPU seconds are of the fastest turn each (other processes only make it
slower). Results are compared text by text with float32, and by nDCG@10 where the whole corpus is encoded.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.measure import DATA, machine
from hf_cocondenser.evaluation.measures import evaluate_run
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
from hf_cocondenser.retrieval.dense import to_run
from hf_cocondenser.retrieval.encode import Encoder
from hf_cocondenser.retrieval.retriever import load_retriever
from hf_cocondenser.retrieval.similarity import choose_similarity
from hf_cocondenser.retrieval.topk import exact_top_k


def main() -> None:
    """Parse, measure, print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encoding", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--texts", type=int, help="only the first so many, spread over the corpus")
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    data = load_retrieval_data(DATA / "scifact")
    model = load_retriever(arguments.model)
    texts = list(data.corpus.values())
    texts = texts[:: len(texts) // arguments.texts][: arguments.texts] if arguments.texts else texts
    encoder, exact = Encoder(model), Encoder(model, precision="float32")
    systems: dict[str, Callable[[], np.ndarray]] = {
        "SentenceTransformer.encode": lambda: model.encode_document(texts, show_progress_bar=False),
        f"ours, {encoder.precision}": lambda: encoder.encode(texts),
        "ours, float32": lambda: exact.encode(texts),
    }
    figures: dict[str, dict[str, Any]] = {name: {} for name in systems}
    vectors = {}
    for _ in range(arguments.repeats):
        for name, encode in systems.items():
            wall, cpu = time.perf_counter(), time.process_time()
            vectors[name] = encode()
            for key, value in (("wall", time.perf_counter() - wall), ("cpu", time.process_time() - cpu)):
                figures[name][f"{key}_seconds"] = round(min(value, figures[name].get(f"{key}_seconds", value)), 2)
    reference = vectors["SentenceTransformer.encode"]
    for name, found in vectors.items():
        cosines = np.sum(found * reference, axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(reference, axis=1)
        figures[name]["least_cosine_to_float32"] = round(float(cosines.min()), 6)
        if not arguments.texts:
            queries = model.encode_query(list(data.queries.values()), show_progress_bar=False)
            hits = exact_top_k(queries, found, 100, cosine=choose_similarity(model) == "cosine")
            run = to_run(list(data.queries), list(data.corpus), *hits)
            figures[name]["nDCG@10"] = round(evaluate_run(data.qrels, run, ["nDCG@10"])[0]["nDCG@10"], 4)
    report = {"machine": machine(), "texts": len(texts), "threads": encoder.threads, "systems": figures}
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
