"""Cutting batches of documents in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from tokenizers import Tokenizer

from hf_cocondenser.data.cutting import SpanOptions, cut_documents
from hf_cocondenser.data.units import UnitTokenizer

Batch = dict[str, list[Any]]
Cut = tuple[int, pa.RecordBatch]  # how many documents went in, and the rows that came out


@dataclass(frozen=True)
class CutSetup:
    """What a process needs to cut documents: the tokenizer as JSON and the arguments of `UnitTokenizer`."""

    tokenizer: str
    cutter: str
    continuation: str
    options: SpanOptions
    schema: pa.Schema

    def start(self) -> Callable[[Batch], Cut]:
        """Return the function that cuts a batch; it remembers the units it has met."""
        units = UnitTokenizer(Tokenizer.from_str(self.tokenizer), self.cutter, self.continuation)
        return lambda batch: (len(batch["_id"]), cut_documents(batch, units, self.options, self.schema))


_cut: Callable[[Batch], Cut]


def _start_process(setup: CutSetup) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    global _cut  # a worker process's own; there is no other way to keep its tables between tasks
    _cut = setup.start()


def _run(batch: Batch) -> Cut:
    return _cut(batch)


def cut_batches(batches: Iterable[Batch], setup: CutSetup, num_proc: int) -> Iterator[Cut]:
    """Cut batches in order; with several processes only a few batches are read ahead."""
    if num_proc <= 1:
        yield from map(setup.start(), batches)
        return
    # Forking spares every worker the seconds that importing torch takes; elsewhere than on Linux it is not safe.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    pending: deque[Any] = deque()
    with ProcessPoolExecutor(num_proc, context, _start_process, (setup,)) as pool:
        for batch in batches:
            pending.append(pool.submit(_run, batch))
            if len(pending) > 2 * num_proc:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
