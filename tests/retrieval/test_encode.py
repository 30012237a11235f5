"""Fast encoding gives what sentence-transformers' own encode gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Router, StaticEmbedding
from transformers import AutoTokenizer

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.dense import dense_search
from hf_cocondenser.retrieval.embeddings import encode_corpus
from hf_cocondenser.retrieval.encode import Encoder, encode_texts
from hf_cocondenser.retrieval.retriever import fingerprint

WORDS = ["whales", "are", "large", "sea", "mammals", "that", "sing", "bread", "is", "baked", "from", "a", "dough"]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rng = np.random.default_rng(0)
    lengths = [0, 1, 90, *rng.integers(1, 60, 60)]
    return [" ".join(rng.choice(WORDS, n)) for n in lengths]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pooling": "mean", "normalize": True, "similarity": "cosine"},
        {"pooling": "mean", "dense": 8},
        {"pooling": "max", "prompts": {"query": "which whales sing ", "document": "bread "}, "max_seq_length": 20},
        {"pooling": "lasttoken"},
    ],
)
@pytest.mark.parametrize("kind", ["query", "document"])
def test_equals_sentence_transformers(make_retriever, texts, options, kind):
    model = SentenceTransformer(str(make_retriever(**options)), device="cpu")
    expected = (model.encode_query if kind == "query" else model.encode_document)(texts)
    vectors = encode_texts(model, texts, kind=kind, precision="float32", batch_tokens=128)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_prompt_tokens_left_out_of_the_pooling(make_retriever, texts):
    model = SentenceTransformer(str(make_retriever(pooling="mean", prompts={"query": "a large ", "document": ""})))
    model.set_pooling_include_prompt(False)
    expected = model.encode_query(texts)
    np.testing.assert_allclose(encode_texts(model, texts, kind="query", precision="float32"), expected, atol=1e-5)
    assert np.abs(encode_texts(model, texts, precision="float32") - expected).max() > 1e-3


def test_left_padding_and_truncated_dimension(make_retriever, texts):
    model = SentenceTransformer(str(make_retriever(pooling="mean")), truncate_dim=5, device="cpu")
    model.tokenizer.padding_side = "left"
    vectors = encode_texts(model, texts, precision="float32", batch_tokens=1)  # one text a batch: all padding must go
    assert vectors.shape == (len(texts), 5)
    np.testing.assert_allclose(vectors, model.encode_document(texts, batch_size=1), atol=1e-5)


def test_bf16_is_close_and_leaves_the_model_alone(make_retriever, texts):
    model = SentenceTransformer(str(make_retriever(pooling="mean", dense=8)), device="cpu")
    exact = encode_texts(model, texts, precision="float32")
    vectors = encode_texts(model, texts, precision="bfloat16")
    cosines = (exact * vectors).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(vectors, axis=1)
    assert cosines.min() > 0.999
    assert not np.array_equal(vectors, exact)  # it did compute in bf16
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_number_of_threads_does_not_change_a_bit(retriever, texts, precision):
    model = SentenceTransformer(str(retriever), device="cpu")
    before = torch.get_num_threads()
    one = Encoder(model, precision=precision, threads=1, batch_tokens=64).encode(texts)
    three = Encoder(model, precision=precision, threads=3, batch_tokens=64).encode(texts)
    assert one.tobytes() == three.tobytes()
    assert torch.get_num_threads() == before


def test_training_mode_is_put_back_and_dropout_off(retriever, texts):
    model = SentenceTransformer(str(retriever), device="cpu").train()
    model[1].eval()
    exact = {"precision": "float32"}
    assert np.array_equal(encode_texts(model, texts, **exact), encode_texts(model, texts, **exact))
    assert model.training and model[0].training and not model[1].training


def test_static_embeddings_have_no_token_matrix(tokenizer_file):
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_file)
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=16)], device="cpu")
    texts = ["whales sing", "bread", "flour and water"]
    np.testing.assert_allclose(encode_texts(model, texts), model.encode_document(texts), atol=1e-6)


def test_edges(retriever):
    model = SentenceTransformer(str(retriever), device="cpu")
    assert encode_texts(model, []).shape == (0, 32)
    with pytest.raises(InputError, match="precision 'fp8'"):
        encode_texts(model, ["a"], precision="fp8")


def test_an_error_in_a_worker_is_raised(retriever, texts):
    model = SentenceTransformer(str(retriever), device="cpu")
    model[0].model.encoder.layer[0].attention.self.query.weight.data = torch.zeros(3, 3)
    with pytest.raises(RuntimeError):
        encode_texts(model, texts)


def test_untied_encoders_go_their_own_ways(make_retriever, texts, tmp_path):
    halves = [SentenceTransformer(str(make_retriever(seed=seed)), device="cpu") for seed in (0, 1)]
    router = Router.for_query_document(query_modules=list(halves[0]), document_modules=list(halves[1]))
    model = SentenceTransformer(modules=[router], similarity_fn_name="dot", device="cpu")
    for kind, half in zip(("query", "document"), halves, strict=True):
        vectors = encode_texts(model, texts, kind=kind, precision="float32")
        np.testing.assert_allclose(vectors, half.encode(texts), atol=1e-5)
    run = dense_search(model, {"q": "whales"}, {"a": "whales sing", "b": "bread"}, 2, precision="float32")
    score = halves[0].encode("whales") @ halves[1].encode("bread")
    assert run["q"]["b"] == pytest.approx(float(score), rel=1e-4)
    assert fingerprint(model) != fingerprint(halves[0])
    before = fingerprint(model)
    model[0].sub_modules["document"][0].document_length = 7  # its embeddings are others
    assert fingerprint(model) != before
    encode_corpus(model, {"a": "whales sing", "b": "bread"}, tmp_path / "e")
