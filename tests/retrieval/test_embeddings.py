"""Sharded embeddings: the same bytes whoever writes them, resumed after a kill, tied to retriever and corpus."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval import embeddings
from hf_cocondenser.retrieval.dense import DenseSearcher, dense_search
from hf_cocondenser.retrieval.embeddings import encode_corpus, open_embeddings
from hf_cocondenser.retrieval.encode import encode_texts
from hf_cocondenser.retrieval.retriever import fingerprint
from tests.launch import ROOT, kill_when, torchrun

WORDS = ["whales", "are", "large", "sea", "mammals", "that", "sing", "bread", "is", "baked", "from", "a", "dough"]
SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from sentence_transformers import SentenceTransformer
from hf_cocondenser.retrieval.embeddings import encode_corpus
model, folder, count, shard = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
sys.path[:0] = [{root!r}]
from tests.retrieval.test_embeddings import make_corpus
encode_corpus(SentenceTransformer(model, device="cpu"), make_corpus(count), folder, shard_size=shard)
"""


def make_corpus(count: int) -> dict[str, str]:
    rng = np.random.default_rng(0)
    return {f"d{i}": " ".join(rng.choice(WORDS, rng.integers(1, 25))) for i in range(count)}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def script_call(model: Path, folder: Path, count: int, shard: int) -> list[str]:
    script = folder.parent / "encode_script.py"
    script.write_text(SCRIPT.format(root=str(ROOT)))
    return [str(script), str(model), str(folder), str(count), str(shard)]


@pytest.fixture
def model(retriever) -> SentenceTransformer:
    return SentenceTransformer(str(retriever), device="cpu")


def test_same_vectors_as_in_memory(model, tmp_path):
    corpus = make_corpus(50)
    stored = encode_corpus(model, corpus, tmp_path / "e", shard_size=50, precision="float32")
    np.testing.assert_array_equal(stored.vectors[:], encode_texts(model, list(corpus.values()), precision="float32"))
    assert stored.ids == list(corpus)
    sharded = encode_corpus(model, corpus, tmp_path / "s", shard_size=12, precision="float32")
    np.testing.assert_allclose(sharded.vectors[:], stored.vectors[:], atol=2e-5)
    assert len(list((tmp_path / "s").glob("shard-*.npy"))) == 5


def test_fingerprint_is_that_of_the_retriever_and_not_of_its_last_call(model):
    before = fingerprint(model)
    model.tokenizer(["whales sing"], truncation=True, max_length=7, padding="max_length")
    assert fingerprint(model) == before


@pytest.mark.distributed
@pytest.mark.slow
def test_two_processes_write_the_same_bytes_as_one(retriever, tmp_path):
    torchrun(2, script_call(retriever, tmp_path / "two", 100, 16))
    encode_corpus(SentenceTransformer(str(retriever), device="cpu"), make_corpus(100), tmp_path / "one", shard_size=16)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_files(retriever, model, tmp_path):
    """kill -9 in the middle; the finished shards are neither lost nor written again."""
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, *script_call(retriever, folder, 3000, 50)])
    kill_when(process, lambda: len(list(folder.glob("shard-*.json"))) >= 3)
    finished = sorted(folder.glob("shard-*.json"))
    assert 3 <= len(finished) < 60
    with pytest.raises(InputError, match="not finished"):
        open_embeddings(folder)
    (folder / ".shard-00059.npy.partial-1").write_bytes(b"half")  # what a kill during a write leaves
    times = {path: path.stat().st_mtime_ns for path in finished}
    encode_corpus(model, make_corpus(3000), folder, shard_size=50)
    assert {path: path.stat().st_mtime_ns for path in finished} == times
    encode_corpus(model, make_corpus(3000), tmp_path / "whole", shard_size=50)
    assert contents(folder) == contents(tmp_path / "whole")


def test_complete_embeddings_are_opened_not_made_again(model, tmp_path):
    encode_corpus(model, make_corpus(20), tmp_path / "e", shard_size=8)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "e").iterdir()}
    encode_corpus(model, make_corpus(20), tmp_path / "e", shard_size=8)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "e").iterdir()} == times


def test_another_retriever_or_corpus_is_refused(model, make_retriever, tmp_path):
    encode_corpus(model, make_corpus(20), tmp_path / "e", shard_size=8)
    other = SentenceTransformer(str(make_retriever(seed=1)), device="cpu")
    with pytest.raises(InputError, match="another retriever"):
        encode_corpus(other, make_corpus(20), tmp_path / "e", shard_size=8)
    with pytest.raises(InputError, match="another retriever"):
        open_embeddings(tmp_path / "e", retriever=fingerprint(other))
    with pytest.raises(InputError, match="another corpus"):
        encode_corpus(model, make_corpus(20) | {"d3": "changed"}, tmp_path / "e", shard_size=8)
    with pytest.raises(InputError, match=r"another precision \(.*, now "):
        other_precision = (
            "float32"
            if encode_corpus(model, make_corpus(9), tmp_path / "g").manifest["precision"] != "float32"
            else "bfloat16"
        )
        encode_corpus(model, make_corpus(9), tmp_path / "g", precision=other_precision)
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "ids.json").write_text("[]")  # killed before the manifest
    assert encode_corpus(model, make_corpus(9), tmp_path / "h").ids == [f"d{i}" for i in range(9)]
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="holds no embeddings"):
        encode_corpus(model, make_corpus(20), tmp_path / "f")


@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_damaged_shard_is_named_and_mended(model, tmp_path, damage):
    whole = encode_corpus(model, make_corpus(20), tmp_path / "e", shard_size=8).vectors[:]
    path = tmp_path / "e" / "shard-00001.npy"
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[:-10] if damage == "cut" else content[:-10] + b"\x00" + content[-9:])
    with pytest.raises(InputError, match=r"shard-00001.npy' is missing or damaged; delete '.*shard-00001.json'"):
        open_embeddings(tmp_path / "e")
    (tmp_path / "e" / "shard-00001.json").unlink()
    np.testing.assert_array_equal(
        encode_corpus(model, make_corpus(20), tmp_path / "e", shard_size=8).vectors[:], whole
    )


def test_empty_corpus(model, tmp_path):
    with pytest.raises(InputError, match="corpus is empty"):
        encode_corpus(model, {}, tmp_path / "e")
    with pytest.raises(InputError, match="corpus is empty"):
        dense_search(model, {"q": "a"}, {})


def test_fingerprint(model, retriever, make_retriever):
    again = SentenceTransformer(str(retriever), device="cpu")  # with another random pooler, which no vector depends on
    assert fingerprint(model) == fingerprint(again)
    changed = [
        SentenceTransformer(str(make_retriever(**o)))
        for o in ({"seed": 1}, {"pooling": "mean"}, {"max_seq_length": 8})
    ]
    assert len({fingerprint(m) for m in [model, *changed]}) == 4


def test_searcher_with_cache_and_index(model, make_retriever, tmp_path):
    corpus = make_corpus(200)
    queries = {"d7": corpus["d7"], "q": "whales sing"}
    plain = dense_search(model, queries, corpus, 5)
    for index in (None, "Flat", "HNSW8"):
        for _ in range(2):  # built, then loaded
            searcher = DenseSearcher.build(model, corpus, cache_dir=tmp_path / "cache", index=index)
            run = searcher.search(queries, 5)
            assert {q: set(hits) for q, hits in run.items()} == {q: set(hits) for q, hits in plain.items()}
    without = dense_search(model, queries, corpus, 5, exclude_same_id=True)
    assert "d7" not in without["d7"] and len(without["d7"]) == 5
    with pytest.raises(InputError, match="another retriever"):
        DenseSearcher.build(SentenceTransformer(str(make_retriever(seed=1))), corpus, cache_dir=tmp_path / "cache")


def test_finished_embeddings_are_read_once(model, tmp_path, monkeypatch):
    """A call compares each checksum once, whether it encodes or finds everything there."""
    corpus = make_corpus(50)
    encode_corpus(model, corpus, tmp_path / "cache", shard_size=16)
    shards = len([*(tmp_path / "cache").glob("*.npy")])
    read = []
    checksum = embeddings.zlib.crc32
    monkeypatch.setattr(embeddings.zlib, "crc32", lambda data: read.append(1) or checksum(data))
    encode_corpus(model, corpus, tmp_path / "cache", shard_size=16)
    assert len(read) == shards > 1


def test_a_cache_that_cannot_be_written_to_is_named(model, tmp_path, monkeypatch):
    corpus = make_corpus(50)

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(embeddings, "write_text", refuse)
        with pytest.raises(InputError, match=r"The cache .* cannot be written to \(Read-only file system\)"):
            encode_corpus(model, corpus, tmp_path / "cache")
    encode_corpus(model, corpus, tmp_path / "cache")
    monkeypatch.setattr(embeddings, "working_in", refuse)
    assert len(encode_corpus(model, corpus, tmp_path / "cache").ids) == len(corpus)  # nothing is left to write
