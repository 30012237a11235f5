"""The data side: cutting documents into spans, beside tokenising sentence by sentence, and masking batches."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import measure
from hf_cocondenser.data.collator import CondenserCollator
from hf_cocondenser.data.dataset import SpanDataset
from hf_cocondenser.data.prepare import prepare_spans
from hf_cocondenser.data.tokenizer import TOKENIZER_FOLDER, load_tokenizer

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
BATCH, BATCHES = 128, 40  # documents, two spans each


def data(documents: int, repeats: int) -> dict[str, float]:
    """Documents per CPU second of `prepare` and of the plain way; tokens per CPU second of masking, and of drawing too."""
    spans = measure.prepared_spans()
    tokenizer = load_tokenizer(spans / TOKENIZER_FOLDER)
    rows = measure.real_documents(documents)

    def plain() -> None:
        for row in rows:
            for passage in row["passages"]:
                for sentence in SENTENCE_END.split(passage):
                    tokenizer(sentence, add_special_tokens=False)

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            prepare_spans(rows, tokenizer, Path(folder) / "spans")

    dataset = SpanDataset(spans, pairs=True, max_length=128)
    collator = CondenserCollator(tokenizer, max_length=128)
    order = np.random.default_rng(0).permutation(len(dataset))[: BATCH * BATCHES].tolist()
    numbers = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    batches = [dataset.__getitems__(batch) for batch in numbers]
    tokens = sum(int(collator(items)["attention_mask"].sum()) for items in batches)

    def mask() -> None:
        for items in batches:
            collator(items)

    def draw_and_mask() -> None:
        for batch in numbers:
            collator(dataset.__getitems__(batch))

    variants = {"plain": plain, "prepare": ours, "mask": mask, "draw and mask": draw_and_mask}
    times = {name: value["cpu_s"] for name, value in measure.interleaved(variants, repeats).items()}
    return {
        "documents": len(rows),
        "sentence by sentence, documents per CPU-s": len(rows) / times["plain"],
        "prepare, documents per CPU-s": len(rows) / times["prepare"],
        "ratio": times["plain"] / times["prepare"],
        "masking, tokens per CPU-s": tokens / times["mask"],
        "drawing and masking, tokens per CPU-s": tokens / times["draw and mask"],
    }
