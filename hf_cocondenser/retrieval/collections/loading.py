"""`load_retrieval_data`: one entry for every source of a retrieval data set."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_cocondenser.data.reading.columns import Columns
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections import beir, dpr, msmarco
from hf_cocondenser.retrieval.collections.catalogue import PREFIX, CatalogueDataset
from hf_cocondenser.retrieval.collections.collection import Document, Query, RetrievalData, assemble
from hf_cocondenser.retrieval.collections.hub import HubDataset
from hf_cocondenser.retrieval.collections.judgements import Judgement, qrels_alone, read_qrels
from hf_cocondenser.retrieval.collections.protocols import DEFAULT, deviations, find_protocol

logger = logging.getLogger(__name__)

_SPLITS = ("train", "dev", "validation", "test")  # parts of ir_datasets ids that name one

DataSource = str | Path | RetrievalData
_Parts = tuple[Iterable[Document], Iterable[Query], Iterable[Judgement] | None]


def load_data_sets(
    data: DataSource | Sequence[DataSource],
    split: str | None,
    *,
    judgements_only: bool = False,
    columns: Columns | None = None,
) -> list[RetrievalData]:
    """Load one data set or several; those in memory stay as they are.

    Args:
        data: `RetrievalData`, or sources of `load_retrieval_data`.
        split: see `load_retrieval_data`.
        columns: see `load_retrieval_data`.
        judgements_only: a file of judgements, or a folder with nothing but `qrels/`, is enough.

    Raises:
        InputError: there is none, or one cannot be loaded.
    """
    found = []
    for source in one_or_many(data):
        if isinstance(source, RetrievalData):
            found.append(source)
        elif judgements_only and (alone := _judgements_alone(Path(source), split)) is not None:
            found.append(alone)
        else:
            found.append(load_retrieval_data(source, split, columns=columns))
    if not found:
        raise InputError("There is no data set; name at least one.")
    return found


def one_or_many(given: Any) -> list[Any]:
    """A single string, path, data set or dict is one thing, not a sequence of its parts."""
    return [given] if isinstance(given, str | Path | RetrievalData | Mapping) else list(given)


def _judgements_alone(path: Path, split: str | None) -> RetrievalData | None:
    """The judgements of a file, or of a folder that has no corpus beside them; None where it is something else."""
    if path.is_file():
        name, judgements, split = beir.split_name(path), read_qrels(path), None
    elif (path / "qrels").is_dir() and not beir.is_beir_folder(path) and not (path / "README.md").is_file():
        split = "test" if split in (None, "auto") else split
        name, judgements = path.resolve().name, beir.read_judgements(path, split)
    else:
        return None
    qrels = qrels_alone(name, judgements)
    return RetrievalData(name, split, {}, dict.fromkeys(qrels, ""), qrels, protocol=find_protocol(str(path.resolve())))


def load_retrieval_data(
    source: str | Path, split: str | None = "test", *, name: str | None = None, columns: Columns | None = None
) -> RetrievalData:
    """Load a corpus, the queries of one split and their judgements.

    Args:
        source: a folder in the layout of BEIR, MS MARCO or DPR; a Hub data set in BEIR's format (`BeIR/scifact`,
            `mteb/scifact`), or a local folder laid out like one; or `ir_datasets:` and an id of that catalogue.
        split: the judgements to use; `auto` takes the one that published figures of this data set are of; None loads
            all queries and no judgements. An id of ir_datasets may name its split itself; then that is the one there is.
        name: what to call it (the last part of `source` by default).
        columns: those of a BEIR folder's documents and queries that the user names.

    Raises:
        InputError: the source or split is not there, or its files do not belong together, or an id of ir_datasets names
            another split.
    """
    if str(source).startswith(PREFIX):
        parts = str(source).removeprefix(PREFIX).split("/")
        path = "/".join(parts[:-1] if parts[-1] in _SPLITS else parts)
        split = _catalogue_split(source, parts, split)
    else:
        path = str(Path(source).resolve()) if Path(source).exists() else str(source)
    protocol = find_protocol(path)
    name = name or (protocol.name if protocol is not DEFAULT else path.rstrip("/").rsplit("/", 1)[-1])
    split = protocol.split if split == "auto" else split
    if protocol is DEFAULT:
        logger.info("%s is not a BEIR data set known by name: the default protocol is used.", name)
    documents, queries, judgements = _parts(source, split, columns)
    folder = Path(source)
    files = (beir.corpus_file(folder), beir.queries_file(folder)) if beir.is_beir_folder(folder) else None
    data = assemble(name, split, documents, queries, judgements, protocol, files)
    if split is not None and judgements is not None:
        for deviation in deviations(protocol, split, len(data.corpus), data.qrels):
            logger.warning("%s: %s; figures do not compare with published ones.", name, deviation)
    return data


def _catalogue_split(source: str | Path, parts: list[str], split: str | None) -> str | None:
    """The split that an id of ir_datasets names (`msmarco-passage/dev/small` too), else the one that is asked for."""
    own = next((part for part in parts if part in _SPLITS), None)
    if own is None:
        return split
    if split not in (None, "auto", own) and {split, own} != {"dev", "validation"}:
        raise InputError(
            f"'{source}' has the judgements of '{own}', but those of '{split}' were asked for; name the id that has them."
        )
    return own


def _parts(source: str | Path, split: str | None, columns: Columns | None) -> _Parts:
    if str(source).startswith(PREFIX):
        entry = CatalogueDataset(str(source).removeprefix(PREFIX))
        return entry.documents(), entry.queries(), entry.judgements() if split is not None else ()
    folder = Path(source)
    if beir.is_beir_folder(folder):
        judgements: Iterable[Judgement] = beir.read_judgements(folder, split) if split is not None else ()
        return beir.read_documents(folder, columns), beir.read_queries(folder, columns), judgements
    if folder.is_dir() and msmarco.is_msmarco_folder(folder):
        queries = msmarco.read_queries(folder, split)
        return (
            msmarco.read_documents(folder),
            queries,
            msmarco.read_judgements(folder, split) if split is not None else (),
        )
    if folder.is_dir() and dpr.is_dpr_folder(folder):
        if split is None:
            raise InputError(f"'{folder}' is in DPR's layout, whose questions are read by split; name one.")
        return dpr.read_documents(folder), *dpr.read_questions(folder, split)
    if folder.is_file():
        raise InputError(f"'{source}' is a file; name the folder of a data set.")
    if str(source).startswith("mteb:"):
        raise InputError(
            f"'{source}' is none of the Hub's names; name the data set of the task there, such as mteb/scifact."
        )
    if folder.is_dir() and not (folder / "README.md").is_file():
        raise InputError(
            f"'{source}' is no data set in the layout of BEIR (corpus.jsonl), MS MARCO (collection.tsv) or DPR (psgs*.tsv)."
        )
    dataset = HubDataset(str(source))
    return dataset.documents(), dataset.queries(), dataset.judgements(split) if split is not None else ()
