"""Exact search, and FAISS indexes beside it."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.embeddings import ShardedMatrix
from hf_cocondenser.retrieval.index import FaissIndex
from hf_cocondenser.retrieval.topk import exact_top_k


def reference(queries, documents, k):
    scores = queries @ documents.T
    rows = np.stack([np.lexsort((np.arange(len(documents)), -row))[:k] for row in scores])
    return np.take_along_axis(scores, rows, 1), rows


@pytest.fixture(scope="module")
def integers():
    """Small integers: exact products, and many ties."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.integers(-2, 3, shape).astype(np.float32)  # noqa: E731
    return draw(30, 6), draw(500, 6)


@pytest.mark.parametrize("budget", [1, 20_000, 2**30])
@pytest.mark.parametrize("k", [1, 7, 500, 1000])
def test_ties_go_by_row_whatever_the_blocks(integers, k, budget):
    queries, documents = integers
    scores, rows = exact_top_k(queries, documents, k, memory_budget=budget)
    expected_scores, expected_rows = reference(queries, documents, k)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(scores, expected_scores)


def test_many_queries_and_candidates(monkeypatch, integers):
    queries, documents = integers
    monkeypatch.setattr("hf_cocondenser.retrieval.topk._QUERIES_AT_ONCE", 7)
    monkeypatch.setattr("hf_cocondenser.retrieval.topk._MANY_CANDIDATES", 3)
    _, rows = exact_top_k(queries, documents, 20, memory_budget=4000)
    np.testing.assert_array_equal(rows, reference(queries, documents, 20)[1])


def test_cosine():
    rng = np.random.default_rng(0)
    queries, documents = rng.normal(size=(5, 8)).astype(np.float32), rng.normal(size=(50, 8)).astype(np.float32)
    documents[3] = 0
    scores, rows = exact_top_k(queries, documents, 50, cosine=True, memory_budget=2000)
    unit = documents / np.maximum(np.linalg.norm(documents, axis=1, keepdims=True), 1e-12)
    expected = reference(queries / np.linalg.norm(queries, axis=1, keepdims=True), unit, 50)
    np.testing.assert_allclose(scores, expected[0], atol=1e-6)
    np.testing.assert_array_equal(rows, expected[1])


def test_nothing_to_search(integers):
    queries, documents = integers
    assert exact_top_k(queries[:0], documents, 5)[1].shape == (0, 5)
    assert exact_top_k(queries, documents[:0], 5)[1].shape == (30, 0)


def test_dimension_mismatch(integers):
    queries, documents = integers
    with pytest.raises(InputError, match="5 dimensions and the documents 6"):
        exact_top_k(queries[:, :5], documents, 3)
    with pytest.raises(InputError, match="5 dimensions and the index 6"):
        FaissIndex.build(documents).search(queries[:, :5], 3)


def test_sharded_matrix_is_the_matrix(integers):
    _, documents = integers
    matrix = ShardedMatrix(np.split(documents, [100, 250, 499]))
    assert matrix.shape == (500, 6)
    for part in (slice(None), slice(90, 260), slice(499, 700), slice(250, 250), slice(0, 100), slice(3, 300, 7)):
        np.testing.assert_array_equal(matrix[part], documents[part])
    rows = np.array([499, 0, 100, 99, 250, 100])
    np.testing.assert_array_equal(matrix[rows], documents[rows])


@pytest.fixture(scope="module")
def clustered():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, 16))
    documents = (centres[rng.integers(0, 20, 3000)] + 0.4 * rng.normal(size=(3000, 16))).astype(np.float32)
    return documents[::60] + np.float32(0.05), documents


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize(
    ("factory", "least"),
    [("Flat", 1.0), ("HNSW16", 0.95), ("IVF16,Flat", 0.95), ("IVF16,PQ8x4", 0.95)],
)
def test_indexes_find_what_exact_search_finds(clustered, factory, least, cosine, tmp_path):
    queries, documents = clustered
    index = FaissIndex.build(documents, factory, cosine=cosine)
    scores, rows = index.search(queries, 10, rescore=documents)
    exact_scores, exact_rows = exact_top_k(queries, documents, 10, cosine=cosine)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, exact_rows, strict=True)])
    assert recall >= least
    same = rows == exact_rows
    np.testing.assert_allclose(scores[same], exact_scores[same], rtol=1e-4)  # re-scored exactly
    index.save(tmp_path / "index")
    again = FaissIndex.load(tmp_path / "index")
    np.testing.assert_array_equal(again.search(queries, 10, rescore=documents)[1], rows)


def test_compressed_scores_alone_are_not_exact(clustered):
    queries, documents = clustered
    index = FaissIndex.build(documents, "IVF16,PQ8x4")
    raw = np.mean(index.search(queries, 10)[1] == exact_top_k(queries, documents, 10)[1])
    rescored = np.mean(index.search(queries, 10, rescore=documents)[1] == exact_top_k(queries, documents, 10)[1])
    assert raw < rescored


def test_parameters(clustered):
    queries, documents = clustered
    index = FaissIndex.build(documents, "IVF64,Flat")
    exact = exact_top_k(queries, documents, 10)[1]
    few = np.mean(index.search(queries, 10, parameters="nprobe=1")[1] == exact)
    all_cells = np.mean(index.search(queries, 10, parameters="nprobe=64")[1] == exact)
    assert few < all_cells == 1.0
    with pytest.raises(InputError, match="parameters 'beam=3'"):
        index.search(queries, 10, parameters="beam=3")


def test_fewer_documents_than_hits(clustered):
    queries, documents = clustered
    index = FaissIndex.build(documents[:5], "HNSW4")
    assert index.search(queries, 10, rescore=documents[:5])[1].shape == (50, 5)


@pytest.mark.parametrize("factory", ["Flatt", "PQ7", ""])
def test_bad_factory(clustered, factory):
    with pytest.raises(InputError, match="index"):
        FaissIndex.build(clustered[1], factory)


def test_too_few_vectors_to_train(clustered):
    with pytest.raises(InputError, match="cannot be trained on 50 vectors"):
        FaissIndex.build(clustered[1][:50], "IVF64,Flat")


def test_index_of_something_else(clustered, tmp_path):
    FaissIndex.build(clustered[1], source={"retriever": "r1", "corpus": "c1"}).save(tmp_path / "i")
    assert FaissIndex.load(tmp_path / "i", source={"retriever": "r1", "corpus": "c1"}, cosine=False).is_exact
    with pytest.raises(InputError, match="another retriever"):
        FaissIndex.load(tmp_path / "i", source={"retriever": "r2", "corpus": "c1"})
    with pytest.raises(InputError, match="another corpus"):
        FaissIndex.load(tmp_path / "i", source={"retriever": "r1", "corpus": "c2"})
    with pytest.raises(InputError, match="dot products"):
        FaissIndex.load(tmp_path / "i", cosine=True)
    with pytest.raises(InputError, match="already exists"):
        FaissIndex.build(clustered[1]).save(tmp_path / "i")


def test_damaged_index(clustered, tmp_path):
    FaissIndex.build(clustered[1]).save(tmp_path / "i")
    path = tmp_path / "i" / "index.faiss"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="is damaged"):
        FaissIndex.load(tmp_path / "i")
    faiss.write_index(faiss.IndexFlatIP(3), str(path))
    with pytest.raises(InputError, match="is damaged"):
        FaissIndex.load(tmp_path / "i")


@pytest.mark.parametrize(
    "factory, parameters", [("IVF4,Flat", "nprobe=0"), ("IVF4,Flat", "nprobe=-3"), ("HNSW4", "nprobe=1")]
)
def test_parameters_out_of_range(clustered, factory, parameters):
    queries, documents = clustered
    with pytest.raises(InputError, match=f"parameters '{parameters}' .FAISS says"):
        FaissIndex.build(documents, factory).search(queries, 3, parameters=parameters)


def test_an_index_that_numbers_its_vectors(clustered):
    with pytest.raises(InputError, match="'IDMap,Flat' takes no vectors"):
        FaissIndex.build(clustered[1], "IDMap,Flat")


def test_cells_of_dot_products_are_warned_of(clustered, caplog):
    scales = np.linspace(0.5, 2, len(clustered[1]), dtype=np.float32)[:, None]
    FaissIndex.build(clustered[1] * scales, "IVF4,Flat", cosine=True)
    assert not caplog.text
    FaissIndex.build(clustered[1] * scales, "IVF4,Flat")
    assert "misses more of the best dot products" in caplog.text
