"""Data sets of the ir_datasets catalogue (an extra: `pip install ir_datasets`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.collection import Document, Query

PREFIX = "ir_datasets:"

_TEXT_FIELDS = ("text", "body", "abstract", "paragraph", "contents")
_QUERY_FIELDS = ("text", "title", "query")


class CatalogueDataset:
    """A data set by its id, such as `beir/scifact/test`, which names the split too."""

    def __init__(self, identifier: str) -> None:
        """Look the data set up.

        Raises:
            InputError: ir_datasets is not installed, or does not know the id.
        """
        try:
            import ir_datasets
        except ImportError:
            raise InputError(
                f"'{PREFIX}{identifier}' needs the package ir_datasets: pip install 'hf-cocondenser[ir-datasets]'."
            ) from None
        try:
            self._dataset = ir_datasets.load(identifier)
        except KeyError:
            raise InputError(f"The ir_datasets catalogue has no data set '{identifier}'.") from None
        self.identifier = identifier

    def documents(self) -> Iterator[Document]:
        """The corpus; a document without a field known to be its text gives the catalogue's default text.

        Raises:
            InputError: the data set has no documents, or none with text.
        """
        self._require("docs")
        for document in self._dataset.docs_iter():
            fields = document._asdict()
            text = next((fields[name] for name in _TEXT_FIELDS if fields.get(name)), None)
            if text is None and not fields.get("title"):
                text = document.default_text() if hasattr(document, "default_text") else ""
            yield Document(document.doc_id, str(fields.get("title") or ""), str(text or ""))

    def queries(self) -> Iterator[Query]:
        """All queries; of a TREC topic, its title.

        Raises:
            InputError: the data set has no queries.
        """
        self._require("queries")
        for query in self._dataset.queries_iter():
            fields: dict[str, Any] = query._asdict()
            text = next((fields[name] for name in _QUERY_FIELDS if fields.get(name)), "")
            yield Query(query.query_id, str(text))

    def judgements(self) -> Iterator[tuple[str, str, int]]:
        """(query id, document id, relevance).

        Raises:
            InputError: the data set has no judgements.
        """
        self._require("qrels")
        for judgement in self._dataset.qrels_iter():
            yield judgement.query_id, judgement.doc_id, int(judgement.relevance)

    def _require(self, what: str) -> None:
        if not getattr(self._dataset, f"has_{what}")():
            raise InputError(
                f"The ir_datasets entry '{self.identifier}' has no {what}; name one of its splits, if any."
            )
