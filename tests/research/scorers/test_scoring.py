"""Every scoring function against its equation in plain loops, and what padding, batches and files must not change."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.retriever_start import load_starting_point
from hf_cocondenser.research.scorers.base import Scorer
from hf_cocondenser.research.scorers.kinds import TRAINED_HERE, ColBERT, DenseScorer, load_scorer
from hf_cocondenser.research.scorers.scoring import DocumentVectors, rescore, search_exactly
from hf_cocondenser.research.scorers.vectors import Vectors
from hf_cocondenser.retrieval.dense import dense_search
from hf_cocondenser.retrieval.retriever import fingerprint

QUERIES = ["w1 w2 w3", "w7", "w9 w9 w50 w51 w52 w53"]
DOCUMENTS = ["w2 w3 w2 w60", "w1", "w100 w101 w102 w103 w104 w105 w106", "w9 w53"]


def random_vectors(texts: list[list[int]], size: int, whole: int, seed: int) -> Vectors:
    """Vectors of texts whose tokens have these keys; padding holds large numbers that must not count."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(map(len, texts))
    tokens = torch.randn(len(texts), longest, size, generator=generator, dtype=torch.float64)
    keys = torch.full((len(texts), longest), -1)
    for row, own in enumerate(texts):
        keys[row, : len(own)] = torch.tensor(own)
        tokens[row, len(own) :] = 100.0
    return Vectors(tokens, keys, torch.randn(len(texts), whole, generator=generator, dtype=torch.float64))


def dot(one: torch.Tensor, two: torch.Tensor) -> float:
    return sum(float(a) * float(b) for a, b in zip(one, two, strict=True))


def real(vectors: Vectors, row: int) -> list[torch.Tensor]:
    return [vector for vector, key in zip(vectors.tokens[row], vectors.keys[row].tolist(), strict=True) if key >= 0]


def max_sim(queries: Vectors, i: int, documents: Vectors, j: int) -> float:
    return sum(max(dot(q, d) for d in real(documents, j)) for q in real(queries, i))


def coil(queries: Vectors, i: int, documents: Vectors, j: int) -> float:
    total = dot(queries.whole[i], documents.whole[j])
    for q, key in zip(queries.tokens[i], queries.keys[i].tolist(), strict=True):
        same = [
            dot(q, d)
            for d, other in zip(documents.tokens[j], documents.keys[j].tolist(), strict=True)
            if key >= 0 and other == key
        ]
        total += max(same) if same else 0.0
    return total


def poly(queries: Vectors, i: int, documents: Vectors, j: int) -> float:
    document = documents.tokens[j, 0]
    codes = real(queries, i)
    weights = [math.exp(dot(code, document)) for code in codes]
    view = [
        sum(w / sum(weights) * float(code[n]) for w, code in zip(weights, codes, strict=True))
        for n in range(len(document))
    ]
    return sum(a * float(b) for a, b in zip(view, document, strict=True))


# A token twice, texts of one token, tokens that only one side has, a query that matches nothing.
MANY = ([[5, 6, 7], [8], [5, 5]], [[6, 5, 6, 9], [10], [7, 7, 7], [5, 8]])


@pytest.mark.parametrize(
    "kind, reference, texts, whole",
    [
        ("colbert", max_sim, MANY, 0),
        ("me-bert", max_sim, ([[0], [0], [0]], MANY[1]), 0),
        ("poly-encoder", poly, ([[0, 0, 0], [0, 0, 0]], [[0], [0], [0], [0]]), 0),
        ("coil", coil, MANY, 4),
    ],
)
def test_scores_are_the_papers(make_scorer: Callable[..., Scorer], kind, reference, texts, whole):
    queries, documents = (random_vectors(own, 6, whole, seed) for seed, own in enumerate(texts))
    scores = make_scorer(kind).score(queries, documents)
    # sentence-transformers' MaxSim ends in float32.
    tolerance = {"rtol": 0, "atol": 1e-5 if kind in ("colbert", "me-bert") else 1e-12}
    expected = [[reference(queries, i, documents, j) for j in range(len(documents))] for i in range(len(queries))]
    torch.testing.assert_close(scores.double(), torch.tensor(expected, dtype=torch.float64), **tolerance)


@torch.no_grad()
def test_coil_without_a_common_token_is_the_dot_product_of_cls(make_scorer: Callable[..., Scorer]):
    scorer = make_scorer("coil")
    queries, documents = scorer.represent_texts(["w1 w2"], "query"), scorer.represent_texts(["w3 w4"], "document")
    torch.testing.assert_close(scorer.score(queries, documents), queries.whole @ documents.whole.T)
    other = scorer.represent_texts(["w3 w1"], "document")
    assert abs(float(scorer.score(queries, other) - queries.whole @ other.whole.T)) > 1e-3
    assert queries.keys.tolist() == [[-1, 6, 7, -1]]  # [CLS] and [SEP] match nothing


@torch.no_grad()
def test_the_codes_attend_over_the_tokens_of_the_query(make_scorer: Callable[..., Scorer]):
    scorer = make_scorer("poly-encoder", codes=3)
    found = scorer.represent_texts(QUERIES, "query")
    assert found.tokens.shape == (3, 3, 32)
    for row, text in enumerate(QUERIES):
        features = scorer.encoder.preprocess([text], task="query")
        hidden = scorer.encoder(features, task="query")["token_embeddings"][0]  # no padding
        for number, code in enumerate(scorer.codes):
            weights = torch.tensor([math.exp(dot(code, vector)) for vector in hidden])
            expected = (weights / weights.sum()) @ hidden
            torch.testing.assert_close(found.tokens[row, number], expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_colbert_leaves_the_punctuation_of_documents_out(backbone_folder: Path, tmp_path: Path):
    start = load_starting_point(backbone_folder, RetrieverTrainingArguments(bf16=False))
    start.tokenizer.add_tokens(["."])
    start[0].auto_model.resize_token_embeddings(len(start.tokenizer))
    scorer = ColBERT.from_retriever(start, dimension=8).eval()
    document, query = (scorer.represent_texts(["w1 . w2"], task) for task in ("document", "query"))
    assert document.mask.tolist() == [[True, True, False, True, True]] and query.mask.all()
    torch.testing.assert_close(query.tokens.norm(dim=-1), torch.ones(1, 5))


@torch.no_grad()
def test_me_bert_keeps_the_first_vectors(make_scorer: Callable[..., Scorer]):
    few = make_scorer("me-bert", vectors=3)
    documents, queries = few.represent_texts(DOCUMENTS, "document"), few.represent_texts(QUERIES, "query")
    assert documents.tokens.shape == (4, 3, 32) and queries.tokens.shape == (3, 1, 32)
    assert few.represent_texts(["w1 w2"], "document").mask.sum() == 3


@pytest.mark.parametrize("kind", TRAINED_HERE)
@torch.no_grad()
def test_neither_padding_nor_company_changes_a_score(make_scorer: Callable[..., Scorer], kind: str):
    scorer = make_scorer(kind)
    together = scorer.score(
        scorer.represent_texts(QUERIES, "query"), scorer.represent_texts([*DOCUMENTS, "w3 " * 25], "document")
    )
    for i, query in enumerate(QUERIES):
        for j, document in enumerate(DOCUMENTS):
            alone = scorer.score(
                scorer.represent_texts([query], "query"), scorer.represent_texts([document], "document")
            )
            torch.testing.assert_close(together[i, j], alone[0, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", TRAINED_HERE)
@torch.no_grad()
def test_a_saved_scorer_gives_the_same_scores(make_scorer: Callable[..., Scorer], tmp_path: Path, kind: str):
    scorer = make_scorer(kind)
    scorer.save(tmp_path)
    assert not list(tmp_path.rglob("*.bin"))
    loaded = load_scorer(tmp_path)
    assert loaded.settings == scorer.settings and fingerprint(loaded) == fingerprint(scorer)
    scores = [
        each.score(each.represent_texts(QUERIES, "query"), each.represent_texts(DOCUMENTS, "document"))
        for each in (scorer, loaded)
    ]
    torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=1e-6)


@torch.no_grad()
def test_colbert_is_sentence_transformers_own_model(make_scorer: Callable[..., Scorer], tmp_path: Path):
    from sentence_transformers import MultiVectorEncoder

    scorer = make_scorer("colbert")
    scorer.save(tmp_path)
    model = MultiVectorEncoder(str(tmp_path), device="cpu")
    scores = model.similarity(model.encode_query(QUERIES), model.encode_document(DOCUMENTS))
    ours = scorer.score(scorer.represent_texts(QUERIES, "query"), scorer.represent_texts(DOCUMENTS, "document"))
    torch.testing.assert_close(scores, ours, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", TRAINED_HERE)
@torch.no_grad()
def test_candidates_and_the_whole_corpus_get_the_same_scores(make_scorer: Callable[..., Scorer], kind: str):
    scorer = make_scorer(kind)
    corpus = {f"d{number}": text for number, text in enumerate([*DOCUMENTS, ""])}
    queries = {f"q{number}": text for number, text in enumerate(QUERIES)}
    documents = DocumentVectors.encode(scorer, corpus)
    exact, seconds = search_exactly(scorer, queries, documents, depth=9)
    assert all(len(hits) == 5 for hits in exact.values()) and len(seconds) == 3
    candidates = {"q0": {"d3": 2.0, "d1": 1.0, "d0": 0.5}, "q1": {"d2": 1.0}}
    again, _ = rescore(scorer, queries, candidates, documents, depth=2)
    assert again.keys() == queries.keys() and again["q0"].keys() == {"d3", "d1"} and again["q2"] == {}
    for query, hits in again.items():
        for document, score in hits.items():
            assert score == pytest.approx(exact[query][document], abs=1e-4)


def test_bytes_per_document(make_scorer: Callable[..., Scorer]):
    corpus = {"a": "w1 w2 w3", "b": "w4"}  # 5 and 3 tokens with [CLS] and [SEP]
    sizes = {}
    for kind, settings in (("colbert", {"dimension": 8}), ("me-bert", {"vectors": 4}), ("poly-encoder", {})):
        scorer = make_scorer(kind, **settings)
        sizes[kind] = DocumentVectors.encode(scorer, corpus).bytes_per_document(scorer.stores_keys)
    coil = make_scorer("coil", dimension=16)
    sizes["coil"] = DocumentVectors.encode(coil, corpus).bytes_per_document(coil.stores_keys)
    assert sizes == {
        "colbert": 4 * 8 * (5 + 3) / 2,
        "me-bert": 4 * 32 * (4 + 3) / 2,
        "poly-encoder": 4 * 32,
        "coil": 4 * ((16 + 1) * (3 + 1) / 2 + 32),
    }


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_a_retriever_ranks_as_dense_search_does(backbone_folder: Path, tmp_path: Path, similarity: str):
    config = RetrieverTrainingArguments(bf16=False, similarity=similarity)
    start = load_starting_point(backbone_folder, config)
    start.save_pretrained(str(tmp_path / "retriever"))
    scorer = load_scorer(tmp_path / "retriever")
    assert isinstance(scorer, DenseScorer)
    corpus = dict(zip("abcd", DOCUMENTS, strict=True))
    queries = dict(zip("xyz", QUERIES, strict=True))
    run, _ = search_exactly(scorer, queries, DocumentVectors.encode(scorer, corpus), depth=3)
    expected = dense_search(start, queries, corpus, k=3, precision="float32")
    for query, hits in expected.items():
        assert run[query] == pytest.approx(hits, abs=1e-4)


def test_a_folder_that_is_no_scorer(make_scorer: Callable[..., Scorer], tmp_path: Path):
    make_scorer("coil").save(tmp_path)
    weights = load_file(tmp_path / "scorer.safetensors")
    other = tmp_path / "other"
    shutil.copytree(tmp_path, other)
    save_file({name: value for name, value in weights.items() if "cls" not in name}, other / "scorer.safetensors")
    with pytest.raises(InputError, match="does not hold the weights of a coil scorer"):
        load_scorer(other)
    (other / "scorer.json").write_text('{"scorer": "splade", "settings": {}}')
    with pytest.raises(InputError, match="names no scorer among colbert"):
        load_scorer(other)
    (other / "scorer.json").write_text('{"scorer": "coil", "settings": {"dimensions": 3}}')
    with pytest.raises(InputError, match="cannot be loaded"):
        load_scorer(other)
    with pytest.raises(InputError, match="not a retriever"):
        (tmp_path / "empty").mkdir()
        load_scorer(tmp_path / "empty")
