"""The quickstart's collection: texts, and for each the query that asks for it, as a BEIR folder with held-out groups.

A group (a module, a user's document) lies wholly in train, dev or test, so a held-out query never asks for something
the retriever was trained to find a neighbour of.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hf_cocondenser.data.documents import load_documents
from hf_cocondenser.data.text import first_sentence
from hf_cocondenser.errors import InputError
from hf_cocondenser.quickstart.cleaning import count_words
from hf_cocondenser.quickstart.docstrings import Docstring, read_docstrings
from hf_cocondenser.quickstart.duplicates import near_duplicates
from hf_cocondenser.utils.files import output_folder, write_json

logger = logging.getLogger(__name__)

FEWEST_QUERIES = 60
TEST_QUERIES, DEV_QUERIES = 1000, 400  # or a tenth, a twentieth of a small collection
MODULE_DEPTH = 3  # transformers.models.bert, scipy.stats._qmc: siblings share their words, so they share a split
WHOLE_DOCUMENT_CHARACTERS = 2000  # a longer document is searched passage by passage
TITLE_WORDS, SENTENCE_WORDS, TEXT_WORDS = 2, 4, 10


@dataclass(frozen=True)
class Entry:
    """A text to be found, the query that asks for it (and is no part of it), and the group it belongs to.

    `document` is the id of the document that the text is only a part of.
    """

    id: str
    group: str
    query: str
    passages: tuple[str, ...]
    document: str | None = None

    @property
    def text(self) -> str:
        """The passages, separated by blank lines."""
        return "\n\n".join(self.passages)

    @property
    def query_id(self) -> str:
        """The id of the query: never the document's own, which evaluators may take for a self-match."""
        return f"query:{self.id}"


def build_collection(
    output_dir: str | Path, corpus: str | Path | None = None, *, most: int | None = None, processes: int = 2
) -> dict[str, Any]:
    """Write the collection to search and to learn from as a BEIR folder with `documents.jsonl`; return its counts.

    Args:
        output_dir: the folder to write.
        corpus: own documents, as `load_documents` takes them; the installed packages' docstrings when None.
        most: texts at most; beyond it a choice by the hash of their ids.
        processes: how many files are parsed at a time.

    Raises:
        InputError: the documents cannot be read, or give too few pairs of a query and a text.
    """
    if corpus is None:
        entries = documentation_entries(read_docstrings(processes=processes))
    else:
        entries = own_entries(load_documents(corpus))
    report = write_collection(distinct_entries(entries, most), output_dir)
    logger.info("Collection: %s.", ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in report.items()))
    return report


def documentation_entries(docstrings: Iterable[Docstring]) -> Iterator[Entry]:
    """One entry per docstring: its summary asks for the rest of it; modules are the groups."""
    for docstring in docstrings:
        group = ".".join(docstring.module.split(".")[:MODULE_DEPTH])
        yield Entry(docstring.qualified_name, group, docstring.summary, docstring.paragraphs)


def own_entries(documents: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    """Entries for documents with "_id", "title" and "passages"; each document is a group.

    A short document with a title is one entry, asked for by the title. Of any other, each passage (or the whole of a
    short one) is an entry, asked for by its first sentence, which is taken out of it.
    """
    for document in documents:
        name = "_".join(str(document["_id"]).split())  # run files separate by white space
        title, passages = document["title"] or "", [" ".join(text.split()) for text in document["passages"]]
        passages = [text for text in passages if text]
        short = sum(map(len, passages)) <= WHOLE_DOCUMENT_CHARACTERS
        if short and count_words(title) >= TITLE_WORDS and _long_enough(passages):
            yield Entry(name, name, title, tuple(passages))
            continue
        parts = {name: passages} if short else {f"{name}:{i:05d}": [text] for i, text in enumerate(passages)}
        for part, texts in parts.items():
            query, rest = first_sentence(texts[0]) if texts else ("", "")
            body = ([rest] if rest else []) + texts[1:]
            if count_words(query) >= SENTENCE_WORDS and _long_enough(body):
                yield Entry(part, name, query, tuple(body), name)


def distinct_entries(entries: Iterable[Entry], most: int | None = None) -> list[Entry]:
    """Leave out near-duplicate texts (the shortest id stays) and all beyond `most`, chosen by their ids' hashes."""
    candidates = sorted(entries, key=lambda entry: (len(entry.id), entry.id))
    duplicate = near_duplicates([entry.text for entry in candidates])
    kept = [entry for entry, repeated in zip(candidates, duplicate, strict=True) if not repeated]
    kept.sort(key=lambda entry: _hash(entry.id))
    return sorted(kept[:most], key=lambda entry: entry.id)


def write_collection(entries: Sequence[Entry], output_dir: str | Path, seed: int = 42) -> dict[str, Any]:
    """Write `corpus.jsonl`, `queries.jsonl`, `qrels/{train,dev,test}.tsv` and `documents.jsonl`; return their counts.

    A query that asks for several texts, or that stands word for word in its text, is left out; the text stays.

    Raises:
        InputError: too few queries remain to train on and to hold out, or those of the smallest documents are too many.
    """
    askers = Counter(_normal(entry.query) for entry in entries)
    asked = [e for e in entries if askers[_normal(e.query)] == 1 and _normal(e.query) not in _normal(e.text)]
    if len(asked) < FEWEST_QUERIES:
        raise InputError(
            f"The corpus gives {len(asked)} pairs of a query and a text, but the quickstart needs {FEWEST_QUERIES}: "
            "pass more documents, with titles or with texts of several sentences."
        )
    splits = split_groups(Counter(entry.group for entry in asked), seed)
    counts = Counter(splits[entry.group] for entry in asked)
    if not counts["test"]:
        raise InputError(
            f"The {len(asked)} queries come from {len(splits)} documents, none of them small enough to be held out for "
            "the test: give more documents, or split long ones."
        )
    report = {"documents": len(entries), "groups": len(splits)}
    report |= {f"{split}_queries": counts[split] for split in ("train", "dev", "test")}
    spans: dict[str, list[str]] = {}  # by document: what two spans may be drawn from
    for entry in entries:
        spans.setdefault(entry.document or entry.id, []).extend(entry.passages)
    with output_folder(output_dir) as folder:
        _write_rows(folder / "corpus.jsonl", ({"_id": e.id, "title": "", "text": e.text} for e in entries))
        _write_rows(folder / "documents.jsonl", ({"_id": d, "title": "", "passages": p} for d, p in spans.items()))
        _write_rows(folder / "queries.jsonl", ({"_id": e.query_id, "text": e.query} for e in asked))
        (folder / "qrels").mkdir()
        for split in counts:  # where no group is small enough for dev, fine-tuning on this folder holds out its own
            rows = [f"{e.query_id}\t{e.id}\t1\n" for e in asked if splits[e.group] == split]
            text = "".join(["query-id\tcorpus-id\tscore\n", *rows])
            (folder / "qrels" / f"{split}.tsv").write_text(text, encoding="utf-8")
        write_json(folder / "collection.json", report | {"seed": seed})
    return report


def split_groups(sizes: Counter[str], seed: int) -> dict[str, str]:
    """Assign each group to test, dev or train: whole groups, in random order, until test and dev are full."""
    total = sum(sizes.values())
    wanted = {"test": min(TEST_QUERIES, total // 10), "dev": min(DEV_QUERIES, total // 20)}
    splits: dict[str, str] = {}
    filled: Counter[str] = Counter()
    for group in sorted(sizes, key=lambda group: _hash(f"{seed} {group}")):
        # A group too large for what is left of a held-out part goes to the next one, at last to train.
        fitting = (split for split, most in wanted.items() if filled[split] + sizes[group] <= most)
        splits[group] = next(fitting, "train")
        filled[splits[group]] += sizes[group]
    return splits


def _long_enough(passages: list[str]) -> bool:
    return sum(map(count_words, passages)) >= TEXT_WORDS


def _normal(text: str) -> str:
    return " ".join("".join(letter if letter.isalnum() else " " for letter in text.lower()).split())


def _hash(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=8).digest()


def _write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
