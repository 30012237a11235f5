"""An encoder that begins as a latent semantic model of its documents; BERT's usual random weights tell nothing apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch.nn.functional import normalize
from transformers import BertConfig, BertModel, set_seed

from hf_cocondenser.data.cutting import SpanOptions
from hf_cocondenser.data.documents import FEATURES
from hf_cocondenser.data.prepare import prepare_spans
from hf_cocondenser.data.store import SpanStore
from hf_cocondenser.data.tokenizer import load_tokenizer, train_wordpiece
from hf_cocondenser.hub.records import PRETRAINING as RECORD
from hf_cocondenser.modeling_condenser import CondenserForPreTraining
from hf_cocondenser.pretraining.latent_start import (
    RESERVED,
    WINDOW,
    count_tokens,
    latent_vectors,
    start_from_documents,
    windows,
)
from tests.generated_texts import documents


def prepare(folder: Path, rows: list[dict], vocabulary: int = 2000) -> SpanStore:
    tokenizer = train_wordpiece(("\n".join(row["passages"]) for row in rows), vocabulary)
    documents = Dataset.from_list([{"title": "", **row} for row in rows], features=FEATURES)
    prepare_spans(documents, tokenizer, folder, SpanOptions(target_tokens=24, min_tokens=4))
    return SpanStore(folder)


@pytest.fixture(scope="module")
def modules(tmp_path_factory) -> SpanStore:
    """Documents of several topics."""
    rows = [{"_id": str(i), "passages": passages} for i, passages in enumerate(documents())]
    return prepare(tmp_path_factory.mktemp("modules") / "spans", rows)


def fresh(vocabulary: int, layers: int = 2) -> BertModel:
    set_seed(1)
    shape = {"hidden_size": 64, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 128}
    return BertModel(BertConfig(vocab_size=vocabulary, **shape)).eval()


def started(store: SpanStore, layers: int = 2) -> tuple[BertModel, list[int]]:
    tokenizer = load_tokenizer(store.folder / "tokenizer")
    ends = [tokenizer.cls_token_id, tokenizer.sep_token_id]
    model = fresh(len(tokenizer), layers)
    start_from_documents(model, store, ends, seed=3)
    return model, ends


def cls(model: BertModel, rows: list[list[int]], ends: list[int]) -> torch.Tensor:
    ids = torch.tensor([[ends[0], *row, ends[1]] for row in rows])
    with torch.no_grad():
        return model(ids).last_hidden_state[:, 0]


def halves(store: SpanStore, length: int = 60) -> tuple[list[list[int]], list[list[int]]]:
    """The start and the end of each document, not overlapping."""
    chosen = [d for d in range(len(store)) if store.token_counts[d] >= 2 * length]
    first = [store.tokens(d, 0, length).tolist() for d in chosen]
    return first, [store.tokens(d, int(n := store.token_counts[d]) - length, int(n)).tolist() for d in chosen]


def mean_rank(vectors: torch.Tensor, others: torch.Tensor) -> float:
    scores = vectors @ others.T
    return float((scores > scores.diagonal()[:, None]).sum(1).float().mean())


def test_an_untrained_encoder_finds_the_other_half_of_a_document(modules: SpanStore) -> None:
    model, ends = started(modules)
    usual = fresh(model.config.vocab_size)
    first, second = halves(modules)
    ours = mean_rank(cls(model, first, ends), cls(model, second, ends))
    theirs = mean_rank(cls(usual, first, ends), cls(usual, second, ends))
    assert len(first) > 40
    assert ours < 0.2 * theirs, (ours, theirs)


def test_the_cls_vector_is_the_latent_semantic_vector(modules: SpanStore) -> None:
    """The mean of the words' latent vectors, weighted by inverse document frequency."""
    model, ends = started(modules, layers=1)
    counts = count_tokens(windows(modules), model.config.vocab_size)
    vectors, weights = latent_vectors(counts, 64 - RESERVED, seed=3)
    rows, _ = halves(modules)
    expected = np.stack([np.average(vectors[row], axis=0, weights=np.exp(weights[row])) for row in rows])
    found = cls(model, rows, ends)[:, RESERVED:]
    likeness = torch.cosine_similarity(found.double(), torch.from_numpy(expected))
    plain = torch.from_numpy(np.stack([vectors[row].mean(0) for row in rows]))
    assert likeness.min() > 0.9 and likeness.mean() > 0.95
    assert likeness.mean() > torch.cosine_similarity(found.double(), plain).mean()


def test_order_and_length_of_a_text_count_for_little(modules: SpanStore) -> None:
    model, ends = started(modules)
    rows, _ = halves(modules)
    once, back = cls(model, rows, ends), cls(model, [row[::-1] for row in rows], ends)
    twice = cls(model, [row + row for row in rows], ends)
    assert torch.cosine_similarity(once, back).min() > 0.999
    assert torch.cosine_similarity(once, twice).min() > 0.99
    assert normalize(once).matmul(normalize(once).T).mean() < 0.8


def test_counts_are_those_of_windows(modules: SpanStore) -> None:
    counts = count_tokens(windows(modules), 2000)
    assert counts.shape[0] == sum(-(-int(n) // WINDOW) for n in modules.token_counts)
    assert counts.sum() == modules.token_counts.sum()


def test_tokens_that_occur_nowhere_stay_random_and_one_document_is_enough(tmp_path: Path) -> None:
    store = prepare(
        tmp_path / "spans", [{"_id": "a", "passages": ["The whale sings.", "The sea is deep and blue."]}], 200
    )
    model, ends = started(store)
    counts = count_tokens(windows(store), model.config.vocab_size)
    absent = sorted(set(np.flatnonzero(np.asarray(counts.sum(0)).ravel() == 0)) - set(ends))
    weight, usual = (
        model.embeddings.word_embeddings.weight,
        fresh(len(counts.toarray()[0])).embeddings.word_embeddings.weight,
    )
    assert torch.equal(weight[absent], usual[absent])
    assert torch.isfinite(cls(model, [store.tokens(0, 0, 5).tolist()], ends)).all()
    loss = model(torch.tensor([[ends[0], 10, 11, ends[1]]])).last_hidden_state.square().sum()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert max(p.grad.abs().max() for p in model.parameters() if p.grad is not None) < 1e4


def test_pretrain_of_a_fresh_bert_begins_there(modules: SpanStore, tmp_path: Path) -> None:
    from hf_cocondenser.cli.main import main

    out = tmp_path / "out"
    small = ["bert:2x64", "--n-head-layers", "1", "--learning-rate", "1e-9", "--max-steps", "1", "--max-length", "32"]
    few = ["--per-device-train-batch-size", "4", "--report-to", "none", "--seed", "3"]
    assert main(["pretrain", *small, *few, "--spans", str(modules.folder), "--output-dir", str(out)]) == 0
    assert (out / RECORD).is_file()
    model, _ = started(modules)
    saved = CondenserForPreTraining.from_pretrained(out).get_backbone()
    words = saved.get_input_embeddings().weight
    known = np.flatnonzero(np.asarray(count_tokens(windows(modules), len(words)).sum(0)).ravel())
    assert torch.allclose(words[known], model.embeddings.word_embeddings.weight[known], atol=1e-6)
