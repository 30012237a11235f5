"""BEIR-format data sets of the Hugging Face Hub, and local folders laid out like one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_cocondenser.data.reading.documents import read_documents
from hf_cocondenser.data.reading.queries import Query, read_queries
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.collection import Document
from hf_cocondenser.retrieval.collections.judgements import Judgement, read_qrels
from hf_cocondenser.utils.loading import one_line, out_of_reach


@dataclass(frozen=True)
class HubDataset:
    """A repository with the configurations `corpus` and `queries`; its judgements are in NAME-qrels or beside them."""

    name: str

    def documents(self) -> Iterator[Document]:
        """The corpus.

        Raises:
            InputError: there is no such configuration, it cannot be fetched, or a document has no id.
        """
        for part in self._parts("corpus"):
            for document in read_documents(part, require_ids=True):
                yield Document(document.id, document.title, document.text)

    def queries(self) -> Iterator[Query]:
        """All queries.

        Raises:
            InputError: there is no such configuration, it cannot be fetched, or a query has no id.
        """
        for part in self._parts("queries"):
            yield from read_queries(part, require_ids=True)

    def judgements(self, split: str) -> Iterator[Judgement]:
        """(query id, document id, relevance) of a split.

        Raises:
            InputError: there are no judgements for the split, or they are in other columns.
        """
        # BeIR/scifact has BeIR/scifact-qrels; mteb/scifact has them as its default configuration.
        for name, configuration in ((f"{self.name}-qrels", None), (self.name, "qrels"), (self.name, "default")):
            try:
                parts = _parts(name, configuration, split)
                break
            except Exception as error:
                reason = error
        else:
            raise self._unreadable(f"judgements of the split '{split}'", reason)
        for part in parts:
            yield from read_qrels(part)

    def _parts(self, configuration: str) -> list[Any]:
        """All parts of a configuration, whatever its splits are called."""
        if reason := out_of_reach(self.name, "dataset"):
            raise InputError(f"The data set '{self.name}' cannot be loaded: {reason}.")
        try:
            return _parts(self.name, configuration)
        except Exception as error:  # datasets raises whatever its readers and the network raise
            raise self._unreadable(configuration, error) from None

    def _unreadable(self, what: str, error: Exception) -> InputError:
        return InputError(f"The {what} of the data set '{self.name}' cannot be loaded: {one_line(error)}")


def _parts(name: str, configuration: str | None, split: str | None = None) -> list[Any]:
    """The data sets, or the files, of a configuration: of all its splits, or of one.

    Files that are here are read by us. What `datasets` makes of them is cached under the folder's last name, so that one
    folder's data would be taken for another's, and takes texts for dates.
    """
    from datasets import load_dataset, load_dataset_builder

    if not Path(name).is_dir():
        found = load_dataset(name, configuration)
    else:
        found = load_dataset_builder(name, configuration).config.data_files or {}
    if split is not None and split not in found:
        raise InputError(f"there is no split '{split}', only {', '.join(map(str, found))}")
    parts = [found[split]] if split is not None else list(found.values())
    return [Path(file) for files in parts for file in files] if Path(name).is_dir() else parts
