"""The automatic temperature gives a calibrated model its own back, and an untrained one the ceiling."""

from __future__ import annotations

import math

import pytest
import torch

from hf_cocondenser import RetrievalData
from hf_cocondenser.finetuning.temperature import auto_temperature, calibrated_temperature
from hf_cocondenser.finetuning.training_set import TrainingSet


def calibrated_scores(temperature: float, norm: float, n: int = 200, d: int = 64):
    """Vectors of a model whose softmax at `temperature` tells the truth: positives are drawn from it."""
    rng = torch.Generator().manual_seed(0)
    passages = torch.nn.functional.normalize(torch.randn(n, d, generator=rng), dim=1) * norm
    queries = torch.nn.functional.normalize(torch.randn(n, d, generator=rng), dim=1) * norm
    picks = torch.multinomial(torch.softmax(queries @ passages.T / temperature, dim=1), 1, generator=rng)[:, 0]
    return queries, passages, picks


@pytest.mark.parametrize(("temperature", "norm"), [(0.05, 1.0), (0.1, 1.0), (1.0, 4.0), (5.0, 10.0)])
def test_a_calibrated_model_gets_its_temperature_back(temperature, norm):
    queries, passages, picks = calibrated_scores(temperature, norm)
    distinct = {int(pick): row for row, pick in enumerate(picks)}
    rows = torch.tensor(list(distinct.values()))
    # The positives in the queries' order; passages picked by nobody cannot take part in a square batch.
    found = calibrated_temperature(queries[rows], passages[picks[rows]])
    ceiling = norm**2 / math.sqrt(64)
    assert 0.5 * temperature < found <= min(2 * temperature, ceiling * 1.001)


@pytest.mark.parametrize("scale", [1.0, 16.0])
def test_scores_that_say_nothing_get_the_ceiling(scale):
    rng = torch.Generator().manual_seed(0)
    queries, passages = (scale * torch.nn.functional.normalize(torch.randn(200, 64, generator=rng)) for _ in range(2))
    assert calibrated_temperature(queries, passages) == pytest.approx(scale**2 / 8, rel=0.01)


def test_it_follows_the_scores_scale():
    queries, passages, picks = calibrated_scores(0.08, 1.0)
    one = calibrated_temperature(queries, passages[picks])
    assert calibrated_temperature(10 * queries, 10 * passages[picks]) == pytest.approx(100 * one, rel=0.01)


def test_masked_pairs_do_not_count():
    """Two queries with the same positive are no mistakes of the model."""
    base = torch.eye(32).repeat_interleave(2, dim=0)
    masked = (base @ base.T).bool().fill_diagonal_(False)
    assert calibrated_temperature(base, base, masked) < calibrated_temperature(base, base)


def test_on_a_random_model_it_is_the_ceiling(make_retriever):
    model = make_retriever()
    corpus = {f"d{i}": f"w{i} w{(7 * i) % 200}" for i in range(100)}
    queries = {f"q{i}": f"w{(13 * i) % 200}" for i in range(100)}
    data = RetrievalData.from_dicts(corpus, queries, {f"q{i}": [f"d{i}"] for i in range(100)})
    found = auto_temperature(model, data)
    assert found == auto_temperature(model, TrainingSet(data.queries, data.corpus, data.relevant()))
    # After a LayerNorm vectors have norm sqrt(32), so the ceiling is 32 / sqrt(32).
    assert found == pytest.approx(math.sqrt(32), rel=0.05)
