"""Data sets of the ir_datasets catalogue (an extra: `pip install ir_datasets`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.collection import Document, Query
from hf_cocondenser.retrieval.collections.judgements import Judgement
from hf_cocondenser.utils.loading import one_line

PREFIX = "ir_datasets:"


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
        """The corpus, each document's text as the catalogue gives it.

        Raises:
            InputError: the data set has no documents, no text of them, or they cannot be had.
        """
        for document in self._rows("docs"):
            text, title = self._text(document), getattr(document, "title", None)
            if isinstance(title, str) and text.startswith(title):
                yield Document(str(document.doc_id), title, text[len(title) :].lstrip())
            else:
                yield Document(str(document.doc_id), "", text)

    def queries(self) -> Iterator[Query]:
        """All queries, each one's text as the catalogue gives it (of a TREC topic, its title).

        Raises:
            InputError: the data set has no queries, no text of them, or they cannot be had.
        """
        for query in self._rows("queries"):
            yield Query(str(query.query_id), self._text(query))

    def judgements(self) -> Iterator[Judgement]:
        """(query id, document id, relevance).

        Raises:
            InputError: the data set has no judgements, or they cannot be had.
        """
        for judgement in self._rows("qrels"):
            yield str(judgement.query_id), str(judgement.doc_id), judgement.relevance

    def _rows(self, what: str) -> Iterator[Any]:
        if not getattr(self._dataset, f"has_{what}")():
            raise InputError(
                f"The ir_datasets entry '{self.identifier}' has no {what}; name one of its splits, if any."
            )
        try:
            yield from getattr(self._dataset, f"{what}_iter")()
        except InputError:
            raise
        except Exception as error:  # of downloads, archives and parsers
            raise InputError(f"The {what} of '{PREFIX}{self.identifier}' cannot be read: {one_line(error)}") from None

    def _text(self, record: Any) -> str:
        if not hasattr(record, "default_text"):
            raise InputError(
                f"ir_datasets does not say which of {', '.join(record._fields)} is the text of the records of "
                f"'{self.identifier}'; export them to a BEIR folder with the text of your choice."
            )
        text = record._replace(
            **{name: "" for name, value in record._asdict().items() if value is None}
        ).default_text()
        return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text or "")
