"""The judged collection: no near-duplicates, no query inside its text, no group in two splits."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from hf_cocondenser.errors import InputError
from hf_cocondenser.quickstart.collection import (
    Entry,
    distinct_entries,
    own_entries,
    split_groups,
    write_collection,
)
from hf_cocondenser.quickstart.duplicates import near_duplicates

WORDS = [f"word{number}" for number in range(2000)]


def words(generator: random.Random, count: int) -> str:
    return " ".join(generator.choices(WORDS, k=count))


def entries(count: int) -> list[Entry]:
    generator = random.Random(7)
    return [
        Entry(
            f"module{i % (count // 4)}.name{i}",
            f"module{i % (count // 4)}",
            words(generator, 6),
            (words(generator, 40),),
        )
        for i in range(count)
    ]


def read_qrels(folder: Path, split: str) -> list[tuple[str, str]]:
    lines = (folder / "qrels" / f"{split}.tsv").read_text().splitlines()
    assert lines[0] == "query-id\tcorpus-id\tscore"
    return [(line.split("\t")[0], line.split("\t")[1]) for line in lines[1:]]


def test_near_duplicates_by_their_overlap() -> None:
    generator = random.Random(3)
    first = words(generator, 100).split()
    nearly = [*first[:90], *words(generator, 10).split()]  # Jaccard of word pairs about 0.8
    related = [*first[:30], *words(generator, 70).split()]  # about 0.18
    texts = [" ".join(first), words(generator, 100), " ".join(nearly), " ".join(related), " ".join(first).upper()]
    assert near_duplicates(texts) == [False, False, True, False, True]
    assert near_duplicates([]) == []
    assert near_duplicates(["one", "one", "two", ""]) == [False, True, False, False]


def test_splits_share_no_group_and_are_as_large_as_wanted() -> None:
    sizes = Counter({f"module{i}": 1 + i % 9 for i in range(800)})
    splits = split_groups(sizes, seed=1)
    filled = Counter()
    for group, split in splits.items():
        filled[split] += sizes[group]
    total = sum(sizes.values())
    assert filled["test"] <= total // 10
    assert filled["test"] >= total // 10 - 9
    assert filled["dev"] >= total // 20 - 9
    assert split_groups(sizes, seed=1) == splits
    assert split_groups(sizes, seed=2) != splits
    # A group that no held-out part can take whole is trained on.
    assert split_groups(Counter({"large": 1000, "a": 1}), seed=1)["large"] == "train"


def test_collection_is_a_beir_folder_without_leaks(tmp_path: Path) -> None:
    given = entries(400)
    leaking = Entry("leak", "leak", "this stands in it", ("Indeed: This stands, in it; and more.",))
    twins = [Entry(f"twin{i}", "twin", "the same question twice", (f"text number {i}",)) for i in range(2)]
    halves = [
        Entry(f"whole:{i}", "whole", f"half number {i} of it", (words(random.Random(i), 30),), "whole") for i in "12"
    ]
    given += halves
    report = write_collection([*given, leaking, *twins], tmp_path / "collection", seed=5)
    folder = tmp_path / "collection"
    corpus = {row["_id"]: row for row in map(json.loads, (folder / "corpus.jsonl").read_text().splitlines())}
    queries = {row["_id"]: row["text"] for row in map(json.loads, (folder / "queries.jsonl").read_text().splitlines())}
    documents = [json.loads(line) for line in (folder / "documents.jsonl").read_text().splitlines()]
    assert set(corpus) == {entry.id for entry in given} | {"leak", "twin0", "twin1"}
    # The texts of one document are together again where spans are drawn from.
    assert {document["_id"] for document in documents} == {id.partition(":")[0] for id in corpus}
    whole = next(document for document in documents if document["_id"] == "whole")
    assert whole["passages"] == [entry.text for entry in halves]
    assert set(queries) == {entry.query_id for entry in given}
    group_of = {entry.query_id: entry.group for entry in given}
    groups = {}
    for split in ("train", "dev", "test"):
        pairs = read_qrels(folder, split)
        assert report[f"{split}_queries"] == len(pairs) > 0
        assert all(queries[query] not in corpus[document]["text"] for query, document in pairs)
        groups[split] = {group_of[query] for query, _ in pairs}
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["dev"]
    assert not groups["dev"] & groups["test"]
    again = write_collection([*given, leaking, *twins], tmp_path / "again", seed=5)
    assert again == report
    assert read_qrels(tmp_path / "again", "test") == read_qrels(folder, "test")


def test_few_long_documents_give_no_test_queries(tmp_path: Path) -> None:
    few = [replace(entry, group=f"document{i % 3}") for i, entry in enumerate(entries(120))]
    with pytest.raises(InputError, match=r"120 queries come from 3 documents, .* or split long ones"):
        write_collection(few, tmp_path / "collection")
    assert list(tmp_path.iterdir()) == []


def test_no_empty_dev_split_is_left(tmp_path: Path) -> None:
    """Of 60 queries 6 may be tested on, and 3 chosen by; each document here has 5."""
    given = [replace(entry, group=f"document{i % 12}") for i, entry in enumerate(entries(60))]
    report = write_collection(given, tmp_path / "collection")
    assert (report["train_queries"], report["dev_queries"], report["test_queries"]) == (55, 0, 5)
    assert sorted(path.name for path in (tmp_path / "collection" / "qrels").iterdir()) == ["test.tsv", "train.tsv"]


def test_too_small_a_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="12 pairs"):
        write_collection(entries(12), tmp_path / "collection")
    assert list(tmp_path.iterdir()) == []


def test_distinct_entries_keep_the_shortest_name_and_a_stable_choice() -> None:
    given = entries(200)
    copy = Entry(given[0].id + ".copy", "elsewhere", "another query", given[0].passages)
    kept = distinct_entries([copy, *given])
    assert kept == sorted(given, key=lambda entry: entry.id)
    some = distinct_entries(given, most=50)
    assert len(some) == 50
    assert set(some) <= set(distinct_entries(given, most=60))


def test_own_documents_are_asked_for_by_title_or_first_sentence() -> None:
    text = "The bees leave the hive at dawn and come back at dusk. Then they rest for the whole of the long night."
    long = " ".join([text] * 30)
    documents = [
        {"_id": "a b", "title": "Life of bees", "passages": [text]},
        {"_id": "c", "title": "", "passages": ["How do bees live? " + text, text]},
        {"_id": "d", "title": "Everything on bees", "passages": [text, "Short.", long]},
        {"_id": "e", "title": "Nothing on bees", "passages": []},
        {"_id": "f", "title": None, "passages": ["Bees. " + text]},
    ]
    found = {entry.id: entry for entry in own_entries(documents)}
    assert {id: (entry.group, entry.query) for id, entry in found.items()} == {
        "a_b": ("a_b", "Life of bees"),
        "c": ("c", "How do bees live?"),
        "d:00000": ("d", "The bees leave the hive at dawn and come back at dusk."),
        "d:00002": ("d", "The bees leave the hive at dawn and come back at dusk."),
    }
    assert found["a_b"].passages == (text,)
    assert found["c"].passages == (text, text)
    assert {entry.document for entry in found.values() if entry.group == "d"} == {"d"}
    assert found["d:00000"].text == "Then they rest for the whole of the long night."
