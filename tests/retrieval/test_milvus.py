"""Search over the embedded Milvus engine, and embeddings as Parquet."""

from __future__ import annotations

import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from hf_cocondenser.cli.main import main
from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.dense import DenseSearcher, dense_search
from hf_cocondenser.retrieval.encode import encode_texts
from hf_cocondenser.retrieval.milvus import MilvusIndex
from hf_cocondenser.retrieval.parquet import write_embeddings
from hf_cocondenser.retrieval.runs import read_run
from hf_cocondenser.retrieval.topk import exact_top_k
from tests.launch import torchrun


@pytest.fixture
def uri(tmp_path: Path) -> str:
    pytest.importorskip("pymilvus", reason="pymilvus is not installed")
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    return str(tmp_path / "vectors.db")


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4500, 16)).astype(np.float32)


@pytest.mark.parametrize("cosine", [False, True])
def test_milvus_finds_what_exact_search_finds(uri, vectors, cosine):
    index = MilvusIndex(uri, retriever="r", corpus="c", dimension=16, cosine=cosine, kind="FLAT")
    index.fill([f"d{i}" for i in range(4500)], vectors)
    assert len(index) == 4500
    queries = vectors[:300] + 0.1
    scores, rows = index.search(queries, 10)
    expected_scores, expected_rows = exact_top_k(queries, vectors, 10, cosine=cosine)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-4)
    with pytest.raises(InputError, match="8 dimensions"):
        index.search(queries[:, :8], 3)
    with pytest.raises(InputError, match="name=number"):
        index.search(queries, 3, parameters="nprobe")
    index.close()


def test_filling_goes_on_where_it_stopped(uri, vectors):
    ids = [f"d{i}" for i in range(4500)]
    first = MilvusIndex(uri, retriever="r", corpus="c", dimension=16, cosine=False, kind="FLAT")
    first.fill(ids[:2600], vectors[:2600])
    first.close()
    again = MilvusIndex(uri, retriever="r", corpus="c", dimension=16, cosine=False, kind="FLAT")
    assert len(again) == 2600
    again.fill(ids, vectors)
    np.testing.assert_array_equal(again.search(vectors[:5], 3)[1], exact_top_k(vectors[:5], vectors, 3)[1])
    other = MilvusIndex(uri, retriever="another", corpus="c", dimension=16, cosine=False, kind="FLAT")
    assert len(other) == 0 and other.collection != again.collection
    other.close()


def test_search_over_milvus_is_the_same_search(uri, retriever, beir_folder, corpus, tmp_path):
    model = SentenceTransformer(str(retriever), device="cpu")
    texts = {name: " ".join(parts).strip() for name, parts in corpus.items()}
    queries = {"d1": "which whales sing", "q": "bread"}
    for _ in range(2):  # filled, then found complete
        run = DenseSearcher.build(model, texts, milvus=uri, index="FLAT").search(queries, 3, exclude_same_id=True)
        expected = dense_search(model, queries, texts, 3, exclude_same_id=True)
        for query, hits in expected.items():
            assert run[query] == pytest.approx(hits, rel=1e-4)
    run_file = tmp_path / "run.trec"
    arguments = ["--data", str(beir_folder), "--milvus", uri, "--output", str(run_file)]
    assert main(["search", str(retriever), *arguments]) == 0
    assert len(read_run(run_file)) == 4


FILLED = """
import sys
import numpy as np
import hf_cocondenser.retrieval.dense as search
from hf_cocondenser.retrieval.search import search_corpus

class Filled:  # stands for a server, which has the whole corpus already
    def __init__(self, uri, **options):
        pass

    def __len__(self):
        return 7

    def search(self, queries, k, **options):
        return np.zeros((len(queries), k)), np.tile(np.arange(k), (len(queries), 1))

search.MilvusIndex = Filled
model, data, folder = sys.argv[1:]
search_corpus(model, data=data, milvus="x.db", cache_dir=f"{folder}/cache", output=f"{folder}/run.trec", k=2)
"""


@pytest.mark.distributed
@pytest.mark.slow
def test_two_processes_over_a_milvus_that_is_filled(retriever, beir_folder, tmp_path):
    (tmp_path / "script.py").write_text(FILLED)
    torchrun(2, [tmp_path / "script.py", retriever, beir_folder, tmp_path])
    assert list(read_run(tmp_path / "run.trec")["q1"]) == ["d2", "d1"]
    assert not (tmp_path / "cache").exists()  # nothing was encoded


def test_no_server_there(uri):
    with pytest.raises(InputError, match="cannot be used"):
        MilvusIndex("http://localhost:1", retriever="r", corpus="c", dimension=4, cosine=False)


def test_without_pymilvus_its_name_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(InputError, match=r"pip install 'hf-cocondenser\[milvus\]'"):
        MilvusIndex("x.db", retriever="r", corpus="c", dimension=4, cosine=False)


def test_parquet_is_a_data_set(monkeypatch, tmp_path, vectors):
    monkeypatch.setattr("hf_cocondenser.retrieval.parquet._ROWS_OF_A_FILE", 1000)
    monkeypatch.setattr("hf_cocondenser.retrieval.parquet._ROWS_OF_A_GROUP", 300)
    ids = [f"d{i}" for i in range(2500)]
    corpus = {name: f"Title{name} text of {name}" if name != "d7" else "bare" for name in ids}
    titles = {name: f"Title{name}" for name in ids if name != "d7"}
    write_embeddings(tmp_path / "p", ids, vectors[:2500], corpus, titles)
    assert len(list((tmp_path / "p").glob("*.parquet"))) == 3
    data = datasets.load_dataset(str(tmp_path / "p"), split="train", cache_dir=str(tmp_path / "cache"))
    assert data["_id"][:] == ids
    assert data[7]["text"] == "bare" and data[7]["title"] == "" and data[8]["text"] == "text of d8"
    np.testing.assert_array_equal(np.asarray(data.with_format("numpy")["embeddings"][:]), vectors[:2500])
    data = data.with_format("numpy")
    data.add_faiss_index("embeddings", metric_type=0)
    assert data.get_nearest_examples("embeddings", vectors[5], k=1)[1]["_id"][0] in ids
    with pytest.raises(InputError, match="already exists"):
        write_embeddings(tmp_path / "p", ids, vectors[:2500], corpus)


def test_parquet_from_the_command_line(retriever, beir_folder, tmp_path):
    target = tmp_path / "parquet"
    assert main(["search", str(retriever), "--corpus", str(beir_folder), "--parquet-dir", str(target)]) == 0
    data = datasets.load_dataset(str(target), split="train", cache_dir=str(tmp_path / "cache"))
    assert data.num_rows == 7 and data[0]["title"] == "Whales"
    model = SentenceTransformer(str(retriever), device="cpu")
    expected = encode_texts(model, [f"{row['title']} {row['text']}".strip() for row in data])
    np.testing.assert_allclose(np.asarray(data["embeddings"][:], dtype=np.float32), expected, atol=1e-6)
    assert main(["search", str(retriever), "--corpus", str(beir_folder), "--parquet-dir", str(target)]) == 2


def test_what_milvus_refuses_is_one_sentence(uri, vectors):
    index = MilvusIndex(uri, retriever="r", corpus="c", dimension=16, cosine=False, kind="FLAT")
    with pytest.raises(InputError, match="more than the 4096 bytes that Milvus takes"):
        index.fill(["a", "b" * 4097], vectors[:2])
    index.fill(["a", "b"], vectors[:2])

    def refuse(*args, **kwargs):
        raise index._failure(message="out of range")

    index._client.search = refuse
    with pytest.raises(InputError, match=r"Milvus cannot search for 3 hits with 'nprobe=0': .*out of range"):
        index.search(vectors[:2], 3, parameters="nprobe=0")
    index.close()
