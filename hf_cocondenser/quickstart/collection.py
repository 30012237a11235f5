"""Turns entries (a text and the query that asks for it) into a BEIR folder with held-out groups, and its documents.

A group (a module, a user's document) lies wholly in train, dev or test, so a held-out query never asks for something
the retriever was trained to find a neighbour of.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.quickstart.duplicates import near_duplicates
from hf_cocondenser.utils.files import output_folder, write_json

FEWEST_QUERIES = 60
TEST_QUERIES, DEV_QUERIES = 1000, 400  # or a tenth, a twentieth of a small collection
SPLITS = ("train", "dev", "test")


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
    queries = _askable(entries)
    if len(queries) < FEWEST_QUERIES:
        raise InputError(
            f"The corpus gives {len(queries)} pairs of a query and a text, but the quickstart needs {FEWEST_QUERIES}: "
            "pass more documents, with titles or with texts of several sentences."
        )
    splits = split_groups(Counter(entry.group for entry in queries), seed)
    counts = Counter(splits[entry.group] for entry in queries)
    if not counts["test"]:
        raise InputError(
            f"The {len(queries)} queries come from {len(splits)} documents, none of them small enough to be held out for "
            "the test: give more documents, or split long ones."
        )
    report = {"documents": len(entries), "groups": len(splits)} | {
        f"{split}_queries": counts[split] for split in SPLITS
    }
    with output_folder(output_dir) as folder:
        _write_jsonl(folder / "corpus.jsonl", ({"_id": e.id, "title": "", "text": e.text} for e in entries))
        _write_jsonl(folder / "documents.jsonl", _documents(entries))
        _write_jsonl(folder / "queries.jsonl", ({"_id": query_id(e), "text": e.query} for e in queries))
        (folder / "qrels").mkdir()
        for split in counts:  # where no group is small enough for dev, fine-tuning on this folder holds out its own
            rows = [f"{query_id(e)}\t{e.id}\t1\n" for e in queries if splits[e.group] == split]
            (folder / "qrels" / f"{split}.tsv").write_text(
                "".join(["query-id\tcorpus-id\tscore\n", *rows]), encoding="utf-8"
            )
        write_json(folder / "collection.json", report | {"seed": seed})
    return report


def query_id(entry: Entry) -> str:
    """Return the id of an entry's query: never the document's own, which evaluators may take for a self-match."""
    return f"query:{entry.id}"


def split_groups(sizes: Counter[str], seed: int) -> dict[str, str]:
    """Assign each group to test, dev or train: whole groups, in random order, until test and dev are full."""
    total = sum(sizes.values())
    wanted = {"test": min(TEST_QUERIES, total // 10), "dev": min(DEV_QUERIES, total // 20)}
    splits = {}
    filled: Counter[str] = Counter()
    for group in sorted(sizes, key=lambda group: _hash(f"{seed} {group}")):
        # A group too large for what is left of a held-out part goes to the next one, at last to train.
        fitting = (split for split, most in wanted.items() if filled[split] + sizes[group] <= most)
        splits[group] = next(fitting, "train")
        filled[splits[group]] += sizes[group]
    return splits


def _askable(entries: Sequence[Entry]) -> list[Entry]:
    askers = Counter(_normal(entry.query) for entry in entries)
    return [e for e in entries if askers[_normal(e.query)] == 1 and _normal(e.query) not in _normal(e.text)]


def _documents(entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    """The entries' texts put together again by document: what two spans may be drawn from."""
    passages: dict[str, list[str]] = {}
    for entry in entries:
        passages.setdefault(entry.document or entry.id, []).extend(entry.passages)
    return ({"_id": name, "title": "", "passages": texts} for name, texts in passages.items())


def _normal(text: str) -> str:
    return " ".join("".join(letter if letter.isalnum() else " " for letter in text.lower()).split())


def _hash(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=8).digest()


def _write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
