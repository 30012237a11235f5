"""BEIR-format data sets of the Hugging Face Hub (or a local folder laid out like one), through `datasets`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.collection import Document, Query
from hf_cocondenser.utils.loading import one_line, out_of_reach

_QUERY_NAMES = ("query-id", "query_id")
_DOCUMENT_NAMES = ("corpus-id", "corpus_id")


@dataclass(frozen=True)
class HubDataset:
    """A repository with the configurations `corpus` and `queries`; its judgements are in NAME-qrels or beside them."""

    name: str

    def documents(self) -> Iterator[Document]:
        """The corpus.

        Raises:
            InputError: there is no such configuration, or it cannot be fetched.
        """
        for row in self._rows("corpus"):
            yield Document(_identifier(row), str(row.get("title") or ""), str(row.get("text") or ""))

    def queries(self) -> Iterator[Query]:
        """All queries.

        Raises:
            InputError: there is no such configuration, or it cannot be fetched.
        """
        for row in self._rows("queries"):
            yield Query(_identifier(row), str(row.get("text") or ""))

    def judgements(self, split: str) -> Iterator[tuple[str, str, int]]:
        """(query id, document id, relevance) of a split.

        Raises:
            InputError: there are no judgements for the split, or they are in other columns.
        """
        for row in self._qrels(split):
            query = next((row[name] for name in _QUERY_NAMES if name in row), None)
            document = next((row[name] for name in _DOCUMENT_NAMES if name in row), None)
            try:
                relevance = int(row["score"])
            except (KeyError, TypeError, ValueError):
                relevance = None
            if query is None or document is None or relevance is None:
                raise InputError(
                    f"A judgement of the data set '{self.name}' is not query-id, corpus-id and a whole-number score: {row}"
                )
            yield str(query), str(document), relevance

    def _rows(self, configuration: str) -> Iterable[dict[str, Any]]:
        """All rows of a configuration, whatever its single split is called."""
        from datasets import load_dataset

        if reason := out_of_reach(self.name, "dataset"):
            raise InputError(f"The data set '{self.name}' cannot be loaded: {reason}.")
        try:
            splits = load_dataset(self.name, configuration)
        except Exception as error:  # datasets raises whatever its readers and the network raise
            raise self._unreadable(configuration, error) from None
        for rows in splits.values():
            yield from rows

    def _qrels(self, split: str) -> Iterable[dict[str, Any]]:
        from datasets import load_dataset

        # BeIR/scifact has BeIR/scifact-qrels; mteb/scifact has them as its default configuration.
        reasons = []
        for name, configuration in ((f"{self.name}-qrels", None), (self.name, "qrels"), (self.name, "default")):
            try:
                return load_dataset(name, configuration, split=split)
            except Exception as error:
                reasons.append(error)
        raise self._unreadable(f"judgements of the split '{split}'", reasons[-1])

    def _unreadable(self, what: str, error: Exception) -> InputError:
        return InputError(f"The {what} of the data set '{self.name}' cannot be loaded: {one_line(error)}")


def _identifier(row: dict[str, Any]) -> str:
    identifier = next((row[name] for name in ("_id", "id") if row.get(name) is not None), None)
    if identifier is None:
        raise InputError(f"A row has no '_id', only {', '.join(row)}; a BEIR-format data set has ids.")
    return str(identifier)
