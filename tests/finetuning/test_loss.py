"""The loss against sentence-transformers' own, against the written-out equation, and over two processes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss
from sentence_transformers.util import cos_sim, dot_score

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.loss import MaskedContrastiveLoss, contains, split_labels
from tests.finetuning import tolerance
from tests.launch import torchrun


def texts(rows: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{word}" for word in rng.integers(0, 200, rng.integers(2, 30))) for _ in range(rows)]


def columns(model, number: int, rows: int) -> list[dict]:
    return [model.preprocess(texts(rows, seed)) for seed in range(number)]


def gradients(loss, model, features, labels=None) -> tuple[float, dict]:
    """Loss and gradients of every parameter with dropout on; the random state is the same at every call."""
    model = loss.model
    model.zero_grad()
    model.train()
    torch.manual_seed(3)
    value = loss([dict(column) for column in features], labels)
    value.backward()
    return value.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model[0].auto_model.config.attention_probs_dropout_prob = 0.0
    return model


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(("similarity", "function"), [("dot", dot_score), ("cosine", cos_sim)])
@pytest.mark.parametrize("negatives", [0, 1, 3])
@pytest.mark.parametrize("directions", ["forward", "mean"])
def test_equals_sentence_transformers_when_nothing_is_masked(
    make_retriever, cached, similarity, function, negatives, directions
):
    model = without_dropout(make_retriever(similarity)).double()
    features = columns(model, 2 + negatives, 7)
    theirs = CachedMultipleNegativesRankingLoss(
        model,
        scale=1 / 0.7,
        similarity_fct=function,
        mini_batch_size=3,
        directions=("query_to_doc",) if directions == "forward" else ("query_to_doc", "doc_to_query"),
        partition_mode="joint" if directions == "forward" else "per_direction",
    )
    ours = MaskedContrastiveLoss(
        model, temperature=0.7, directions=directions, gradient_cache=cached, mini_batch_size=3
    )
    expected, expected_gradients = gradients(theirs, model, features)
    # Labels that name nothing twice and nothing relevant beside the positives mask nothing.
    keys = torch.arange(7 * (1 + negatives)).reshape(1 + negatives, 7).T
    for labels in (None, torch.cat([keys, torch.full((7, 2), -1)], dim=1)):
        value, found = gradients(ours, model, features, labels)
        assert value == pytest.approx(expected, abs=1e-12)
        assert found.keys() == expected_gradients.keys()
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, expected_gradients[name], **tolerance.cached(1e-9))


def test_gradient_cache_equals_no_cache_with_dropout_and_token_budget(make_retriever):
    model = make_retriever().double()
    features = columns(model, 3, 9)
    labels = torch.randint(0, 6, (9, 6), generator=torch.Generator().manual_seed(0))
    results = [
        gradients(
            MaskedContrastiveLoss(model, 2.0, gradient_cache=cached, mini_batch_num_tokens=40), model, features, labels
        )
        for cached in (True, False)
    ]
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-12)
    for name, gradient in results[0][1].items():
        torch.testing.assert_close(gradient, results[1][1][name], **tolerance.cached(1e-9))
    assert max(gradient.abs().max() for gradient in results[0][1].values()) > 1e-3


def written_out(q: np.ndarray, p: np.ndarray, labels: np.ndarray, temperature: float, directions: str) -> float:
    """-log softmax, sum by sum; p holds positives, then first negatives, ..."""
    size, own = len(q), len(p) // len(q)
    key = [labels[j % size][j // size] for j in range(len(p))]
    relevant = [{labels[i][0], *labels[i][own:]} - {-1} for i in range(size)]
    forward = backward = 0.0
    for i in range(size):
        terms = [math.exp(q[i] @ p[j] / temperature) for j in range(len(p)) if j == i or key[j] not in relevant[i]]
        forward -= math.log(math.exp(q[i] @ p[i] / temperature) / sum(terms)) / size
        terms = [math.exp(q[k] @ p[i] / temperature) for k in range(size) if k == i or key[i] not in relevant[k]]
        backward -= math.log(math.exp(q[i] @ p[i] / temperature) / sum(terms)) / size
    return {"forward": forward, "sum": forward + backward, "mean": (forward + backward) / 2}[directions]


@pytest.mark.parametrize("directions", ["forward", "sum", "mean"])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_equals_the_written_out_equation_with_masks(make_retriever, directions, similarity):
    model = make_retriever(similarity).double().eval()
    features = columns(model, 3, 8)
    # Few distinct keys: many passages are relevant to several queries, a hard negative among them.
    labels = torch.randint(0, 9, (8, 5), generator=torch.Generator().manual_seed(1))
    labels[:, 4] = -1
    vectors = [model(dict(column))["sentence_embedding"].detach().numpy() for column in features]
    if similarity == "cosine":
        vectors = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors]
    expected = written_out(vectors[0], np.concatenate(vectors[1:]), labels.numpy(), 5.0, directions)
    unmasked = written_out(vectors[0], np.concatenate(vectors[1:]), np.arange(40).reshape(8, 5), 5.0, directions)
    assert abs(expected - unmasked) > 1e-3  # the mask matters here
    loss = MaskedContrastiveLoss(model, 5.0, directions=directions, gradient_cache=False)
    assert loss([dict(column) for column in features], labels).item() == pytest.approx(expected, abs=1e-12)
    assert loss.metrics["masked"] > 0


def test_passages_in_one_column_equal_separate_columns(make_retriever):
    model = make_retriever().eval()
    negatives = 2
    rows = [texts(5, seed) for seed in range(2 + negatives)]
    separate = [model.preprocess(column) for column in rows]
    together = [separate[0], model.preprocess([text for column in rows[1:] for text in column])]
    labels = torch.arange(5 * 4).reshape(5, 4) % 7
    loss = MaskedContrastiveLoss(model, 3.0, gradient_cache=False, mini_batch_size=4)
    torch.testing.assert_close(loss(separate, labels), loss(together, labels))


def test_a_query_with_many_positives_is_not_punished(make_retriever):
    """Where every passage of the batch is relevant to every query there is nothing to learn: loss and gradient are 0."""
    model = make_retriever()
    features = columns(model, 2, 4)
    loss, found = gradients(
        MaskedContrastiveLoss(model, 1.0), model, features, torch.arange(16).reshape(4, 4) // 4 * 0
    )
    assert loss == 0
    assert all(gradient.abs().max() == 0 for gradient in found.values())
    punished, _ = gradients(MaskedContrastiveLoss(model, 1.0), model, features)
    assert punished > 0.1


def test_contains_and_split_labels():
    labels = torch.tensor([[4, 9, 7, -1], [5, 9, -1, -1]])
    keys, relevant = split_labels(labels, 2, 4)
    assert keys.tolist() == [4, 5, 9, 9]
    assert relevant.tolist() == [[4, 7, -1], [5, -1, -1]]
    found = contains(torch.tensor([[9, 4, -1], [100, -1, -1]]), keys)
    assert found.tolist() == [[True, False, True, True], [False, False, False, False]]
    with pytest.raises(InputError, match="labels"):
        split_labels(labels, 3, 6)


def test_accuracy_counts_ties_as_losses(make_retriever):
    loss = MaskedContrastiveLoss(make_retriever(), 1.0)
    loss._contrast(torch.ones(3, 4), torch.ones(3, 4), None)
    assert loss.metrics["accuracy"] == 0
    loss._contrast(torch.eye(3), torch.eye(3), None)
    assert loss.metrics["accuracy"] == 1
    assert loss.metrics["negatives"] == 2


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"directions": "up"}, {"similarity": "euclidean"}])
def test_bad_options(make_retriever, options):
    with pytest.raises(InputError):
        MaskedContrastiveLoss(make_retriever(), **{"temperature": 1.0, **options})


@pytest.mark.distributed
@pytest.mark.slow
def test_two_processes_equal_one(make_retriever, tmp_path: Path):
    """The same global batch of 8 queries x 3 passages with labels: loss and gradients of 2 x 4 equal 1 x 8."""
    model = without_dropout(make_retriever()).double()
    model.save_pretrained(str(tmp_path / "model"))
    script = Path(__file__).with_name("two_processes.py")
    for processes in (1, 2):
        torchrun(processes, [script, tmp_path])
    one, two = (json.loads((tmp_path / f"{processes}.json").read_text()) for processes in (1, 2))
    assert one.keys() == two.keys() and len(one) == 6
    for setting in one:
        np.testing.assert_allclose(two[setting], one[setting], rtol=1e-9, atol=1e-12, err_msg=setting)
    assert one["forward cached"] != one["sum cached"]


def test_old_versions_lose_gradients_of_the_cache_under_several_processes(make_retriever, monkeypatch):
    import sentence_transformers

    monkeypatch.setattr("hf_cocondenser.finetuning.loss.get_world_size", lambda: 2)
    MaskedContrastiveLoss(make_retriever(), 1.0)
    monkeypatch.setattr(sentence_transformers, "__version__", "6.1.0")
    MaskedContrastiveLoss(make_retriever(), 1.0, gradient_cache=False)
    with pytest.raises(InputError, match=r"6\.1\.0 loses gradients .* install 6\.2 or newer"):
        MaskedContrastiveLoss(make_retriever(), 1.0)
