"""A T5 encoder that begins as a latent semantic model of its texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerBase, T5EncoderModel

from hf_cocondenser.data.tokenizer import train_wordpiece
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.fresh_t5 import fresh_t5_config, make_fresh_t5
from hf_cocondenser.finetuning.latent_t5 import FILLER, start_projection, start_t5_from_texts
from hf_cocondenser.finetuning.recipes import finetune_options
from hf_cocondenser.finetuning.retriever_start import load_starting_point
from hf_cocondenser.pretraining.latent_start import count_tokens, latent_vectors
from tests.generated_texts import documents


def gtr(**options) -> RetrieverTrainingArguments:
    """The training arguments of GTR's recipe."""
    return finetune_options("gtr", **options).args


WIDTH = 64


@pytest.fixture(scope="module")
def halves() -> tuple[list[str], list[str]]:
    """The upper and the lower half of documents of several topics."""
    lines = ["\n\n".join(paragraphs).splitlines() for paragraphs in documents()]
    cut = [(rows, len(rows) // 2) for rows in lines if len(rows) > 40]
    return ["\n".join(rows[:half])[:1500] for rows, half in cut], ["\n".join(rows[half:])[:1500] for rows, half in cut]


@pytest.fixture(scope="module")
def tokenizer(halves: tuple[list[str], list[str]]) -> PreTrainedTokenizerBase:
    return train_wordpiece([*halves[0], *halves[1], "qqqq qqqq"], 2000)


def untrained(tokenizer: PreTrainedTokenizerBase) -> T5EncoderModel:
    torch.manual_seed(5)
    return T5EncoderModel(fresh_t5_config(f"t5:2x{WIDTH}", len(tokenizer))).eval()


def mean_rank(vectors: torch.Tensor, others: torch.Tensor) -> float:
    scores = torch.nn.functional.normalize(vectors) @ torch.nn.functional.normalize(others).T
    return float((scores > scores.diagonal()[:, None]).sum(1).float().mean())


def pooled(model: T5EncoderModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> torch.Tensor:
    found = [tokenizer(text, truncation=True, max_length=200, return_tensors="pt")["input_ids"] for text in texts]
    with torch.no_grad():
        return torch.cat([model(ids).last_hidden_state.mean(1) for ids in found])


@pytest.mark.parametrize("projection", [None, 24, 96])
def test_an_untrained_retriever_finds_the_other_half(halves, tokenizer, tmp_path: Path, projection: int):
    config = gtr(projection=projection, query_length=128, passage_length=128, bf16=False)
    make_fresh_t5(f"t5:2x{WIDTH}", tokenizer, [*halves[0], *halves[1]], tmp_path / "fresh", config)
    model = load_starting_point(tmp_path / "fresh", config)
    assert model.get_embedding_dimension() == (projection or WIDTH)
    upper, lower = (model.encode(texts, convert_to_tensor=True) for texts in halves)
    random = untrained(tokenizer)
    theirs = mean_rank(pooled(random, tokenizer, halves[0]), pooled(random, tokenizer, halves[1]))
    assert len(upper) > 80
    assert mean_rank(upper, lower) < 0.2 * theirs, (mean_rank(upper, lower), theirs)


def test_the_mean_of_the_outputs_is_the_latent_semantic_vector(halves, tokenizer):
    """The sum of the words' latent vectors, each as long as its inverse document frequency."""
    model = untrained(tokenizer)
    start_t5_from_texts(model, tokenizer, halves[0], seed=3)
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"][:256] for text in halves[0]]
    vectors, log_idf = latent_vectors(count_tokens(map(np.array, rows), len(tokenizer)), WIDTH - FILLER, seed=3)
    texts = halves[0]
    words = [tokenizer(text, truncation=True, max_length=200)["input_ids"][1:-1] for text in texts]
    expected = torch.tensor(np.stack([(vectors[ids] * np.exp(log_idf[ids, None])).sum(0) for ids in words]))
    found = pooled(model, tokenizer, texts)
    assert found[:, -FILLER:].abs().max() == 0
    assert torch.cosine_similarity(found[:, :-FILLER].double(), expected).mean() > 0.95
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith((".o.weight", ".wo.weight")):
                weight.zero_()
    assert torch.cosine_similarity(pooled(model, tokenizer, texts)[:, :-FILLER].double(), expected).min() > 0.998


def test_the_rest_stays_random_and_can_be_trained(halves, tokenizer):
    usual, model = untrained(tokenizer), untrained(tokenizer)
    start_t5_from_texts(model, tokenizer, halves[0], seed=3)
    before = dict(usual.named_parameters())
    for name, weight in model.named_parameters():
        if name.split(".")[-2] in ("q", "k", "v", "wi", "relative_attention_bias"):
            assert torch.equal(weight, before[name])
    seen = {i for text in halves[0] for i in tokenizer(text, truncation=True, max_length=258)["input_ids"]}
    absent = sorted(set(range(len(tokenizer))) - seen)
    embeddings, random = model.get_input_embeddings().weight, usual.get_input_embeddings().weight
    assert len(absent) > 5 and torch.equal(embeddings[absent], random[absent])
    assert embeddings[sorted(seen)].square().mean(1).sub(1).abs().max() < 1e-5  # all of them equally long
    model(torch.tensor([tokenizer(halves[0][0])["input_ids"][:50]])).last_hidden_state.mean(1)[0, :3].sum().backward()
    for name, weight in model.named_parameters():
        assert torch.isfinite(weight.grad).all() and weight.grad.abs().max() > 0, name


def test_one_text_is_enough(tokenizer):
    model = untrained(tokenizer)
    start_t5_from_texts(model, tokenizer, ["import this", ""], seed=3)
    assert torch.isfinite(pooled(model, tokenizer, ["import this", "", "def main"])).all()


@pytest.mark.parametrize("outputs", [16, 63, 200])
def test_a_projection_keeps_cosines(outputs: int):
    weight = torch.nn.Linear(WIDTH, outputs, bias=False).weight
    start_projection(weight, seed=1)
    vectors = torch.randn(10, WIDTH, generator=torch.Generator().manual_seed(0))
    kept = vectors[:, : min(outputs, WIDTH - FILLER)]
    assert torch.allclose(vectors @ weight.T @ weight @ vectors.T, kept @ kept.T, atol=1e-4)
