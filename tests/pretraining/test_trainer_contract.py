"""What a user of transformers' Trainer expects of ours."""

from __future__ import annotations

import warnings

import datasets
import numpy as np
import pytest
import torch
from transformers import BertForMaskedLM, Trainer, TrainingArguments

from hf_cocondenser import (
    CondenserCollator,
    CondenserForPreTraining,
    CondenserTrainer,
    CondenserTrainingArguments,
    InputError,
    SpanDataset,
)
from hf_cocondenser.data.tokenizer import load_tokenizer
from hf_cocondenser.pretraining.callbacks import set_epoch
from tests.pretraining.test_trainer import same, trainer_for, weights
from tests.toy_spans import ToySpans, collate


def arguments(tmp_path, **options) -> CondenserTrainingArguments:
    settings = {"max_steps": 1, "per_device_train_batch_size": 4, "per_device_eval_batch_size": 4, "use_cpu": True,
                "save_strategy": "no", "report_to": "none", "disable_tqdm": True}  # fmt: skip
    return CondenserTrainingArguments(str(tmp_path / "out"), **(settings | options))


@pytest.fixture
def model(tmp_path):
    return trainer_for(tmp_path, dtype=torch.float32).model


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor is 0.1"),
        ({"remove_unused_columns": True}, "remove_unused_columns"),
        ({"train_sampling_strategy": "group_by_length"}, "drawn at random"),
        ({"stage": "cocondensr"}, "did you mean 'cocondenser'"),
        ({"per_device_train_batch_size": 0}, "it must be at least 1"),
    ],
)
def test_arguments_that_the_losses_cannot_do_are_refused(tmp_path, option, words):
    with pytest.raises(InputError, match=words):
        arguments(tmp_path, **option)


def test_the_constructor_refuses_what_would_fail_later(tmp_path, model):
    args = arguments(tmp_path)
    data = {"train_dataset": ToySpans(8), "data_collator": collate}
    with pytest.raises(InputError, match="args are TrainingArguments; give CondenserTrainingArguments"):
        CondenserTrainer(model, TrainingArguments(str(tmp_path), use_cpu=True), **data)
    with pytest.raises(InputError, match="a BertForMaskedLM; give a CondenserForPreTraining"):
        CondenserTrainer(BertForMaskedLM(model.config.backbone_config), args, **data)
    with pytest.raises(InputError, match="The model is 'cocondenser-tiny'"):
        CondenserTrainer("cocondenser-tiny", args, **data)
    with pytest.raises(InputError, match="a BertForMaskedLM"):
        CondenserTrainer(None, args, model_init=lambda: BertForMaskedLM(model.config.backbone_config), **data)
    with pytest.raises(InputError, match="compute_loss_func is not used"):
        CondenserTrainer(model, args, compute_loss_func=lambda *a, **k: 0, **data)
    with pytest.raises(InputError, match="no tokenizer as processing_class"):
        CondenserTrainer(model, args, train_dataset=ToySpans(8))


@pytest.mark.parametrize("stage", ["condenser", "cocondenser"])
def test_stage_and_pairs_must_agree(tmp_path, model, spans_folder, stage):
    tokenizer = load_tokenizer(spans_folder / "tokenizer")
    pairs = stage == "cocondenser"
    wrong, right = SpanDataset(spans_folder, pairs=not pairs), SpanDataset(spans_folder, pairs=pairs)
    args = arguments(tmp_path, stage=stage)
    for data in ({"train_dataset": wrong}, {"train_dataset": right, "eval_dataset": {"a": right, "b": wrong}}):
        with pytest.raises(InputError, match=f"stage is '{stage}', but the data set draws"):
            CondenserTrainer(model, args, processing_class=tokenizer, **data)
    with pytest.raises(InputError, match=f"make it with pairs={pairs}"):
        CondenserTrainer(model, args, collate, torch.utils.data.Subset(wrong, range(8)))


def test_the_collator_comes_from_the_tokenizer(tmp_path, spans_folder):
    tokenizer = load_tokenizer(spans_folder / "tokenizer")
    model = trainer_for(tmp_path, dtype=torch.float32).model
    model.resize_token_embeddings(len(tokenizer))
    spans = SpanDataset(spans_folder, pairs=True, max_length=48)
    subset = torch.utils.data.Subset(spans, range(16))
    trainer = CondenserTrainer(model, arguments(tmp_path), train_dataset=subset, processing_class=tokenizer)
    assert isinstance(trainer.data_collator, CondenserCollator) and trainer.data_collator.max_length == 48
    trainer.train()
    assert CondenserCollator(spans_folder / "tokenizer").max_length == 128


def rows(documents: int) -> datasets.Dataset:
    spans = ToySpans(documents)
    return datasets.Dataset.from_list(
        [
            {name: [t.tolist() for t in v] if isinstance(v, list) else v for name, v in spans[i].items()}
            for i in range(documents)
        ]
    )


def of_rows(items: list[dict]) -> dict[str, torch.Tensor]:
    return collate([item | {k: [torch.tensor(t) for t in item[k]] for k in ("spans", "masks")} for item in items])


class Plain(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        return ToySpans(8)[index]


def test_any_data_set_gives_the_same_training(tmp_path):
    runs = []
    for data, collator in [
        (ToySpans(8), collate),
        (torch.utils.data.Subset(ToySpans(20), range(8)), collate),
        (Plain(), collate),
        ([ToySpans(8)[i] for i in range(8)], collate),
        (rows(8), of_rows),
        (rows(8).to_iterable_dataset(), of_rows),
    ]:
        trainer = trainer_for(tmp_path, max_steps=1, dropout=0.0)
        trainer.train_dataset, trainer.data_collator = data, collator
        trainer.train()
        runs.append(weights(trainer))
        CondenserTrainer(trainer.model, arguments(tmp_path), collator, data, data)  # and is taken by the constructor
    assert all(same(runs[0], run) for run in runs[1:])


def test_the_epoch_reaches_data_sets_inside_others():
    first, second = ToySpans(4), ToySpans(6)
    set_epoch(torch.utils.data.ConcatDataset([torch.utils.data.Subset(first, [0, 1]), second]), 3)
    assert first.epoch == second.epoch == 3


def test_documents_with_equal_ids_in_a_batch_are_refused(tmp_path):
    trainer = trainer_for(tmp_path, max_steps=1)
    trainer.train_dataset = torch.utils.data.ConcatDataset([ToySpans(4), ToySpans(4)])
    with pytest.raises(InputError, match="give documents of several data sets different ids"):
        trainer.train()


def test_what_a_collator_adds_reaches_the_model_and_the_hook(tmp_path):
    seen: list[set[str]] = []

    class Model(CondenserForPreTraining):
        def forward(self, input_ids=None, attention_mask=None, labels=None, weights=None, note=None, **kwargs):
            assert len(weights) == len(input_ids) and note == "all"
            seen.append(set(kwargs))
            return super().forward(input_ids, attention_mask, labels, **kwargs)

    class Weighted(CondenserTrainer):
        def chunk_loss(self, batch, output):
            assert batch["weights"].equal(batch["attention_mask"].sum(1))
            return batch["weights"] * output.cls.mean(1)

    def collator(items):
        batch = collate(items)
        types = torch.zeros_like(batch["input_ids"])
        return batch | {"weights": batch["attention_mask"].sum(1), "note": "all", "token_type_ids": types}

    trainer = trainer_for(tmp_path, Weighted, max_steps=1, dropout=0.0)
    plain = weights(trainer)
    own = Model(trainer.model.config).double()
    own.load_state_dict(trainer.model.state_dict())
    for model in (own, trainer.model):  # the package's own takes what it knows and passes over the rest
        again = Weighted(model, trainer.args, collator, ToySpans(24))
        again.train()
        assert not same(plain, weights(again))
    assert {"num_items_in_batch", "token_type_ids"} <= seen[0]
    assert same(weights(again), dict(own.state_dict()))


def test_compute_metrics_gets_vectors_and_document_ids(tmp_path):
    def siblings_first(prediction):
        vectors, ids = prediction.predictions, prediction.label_ids
        scores = vectors @ vectors.T
        np.fill_diagonal(scores, -np.inf)
        return {"siblings": float((ids[scores.argmax(1)] == ids).mean()), "spans": len(ids)}

    trainer = trainer_for(tmp_path, per_device_eval_batch_size=16)
    trainer.compute_metrics = siblings_first
    metrics = trainer.evaluate()
    assert metrics["eval_spans"] == 32
    assert metrics["eval_siblings"] == pytest.approx(metrics["eval_contrastive_accuracy"])
    prediction = trainer.predict(ToySpans(16))
    assert prediction.predictions.shape == (32, 32) and prediction.label_ids.shape == (32,)
    batch = collate([ToySpans(16)[i] for i in range(16)])
    expected = trainer.model.eval()(batch["input_ids"], batch["attention_mask"]).cls  # in the batch's order
    np.testing.assert_allclose(prediction.predictions, expected.detach().numpy(), rtol=1e-10)


def test_hyperparameter_search_minimises_the_evaluation_loss(tmp_path, monkeypatch):
    trainer = trainer_for(tmp_path, per_device_eval_batch_size=16)
    monkeypatch.setattr(
        Trainer, "hyperparameter_search", lambda self, space, objective, **kwargs: objective(self.evaluate())
    )
    assert trainer.hyperparameter_search(n_trials=1) == pytest.approx(trainer.evaluate()["eval_loss"])
    assert trainer.hyperparameter_search(compute_objective=len, n_trials=1) > 5


def test_evaluation_counts_the_documents_that_it_looked_at(tmp_path):
    trainer = trainer_for(tmp_path, per_device_eval_batch_size=10)  # 16 held out: 6 are dropped
    output = trainer.evaluation_loop(trainer.get_eval_dataloader(), "evaluation")
    assert output.num_samples == 10


def test_a_run_warns_of_nothing_that_its_user_cannot_change(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        trainer = trainer_for(tmp_path, max_steps=1, per_device_eval_batch_size=16)
        trainer.train()
        trainer.evaluate()


def test_too_few_held_out_documents_are_refused_before_the_training(tmp_path, model):
    args = arguments(tmp_path, eval_strategy="epoch", per_device_eval_batch_size=16)
    trainer = CondenserTrainer(model, args, train_dataset=ToySpans(8), eval_dataset=ToySpans(8), data_collator=collate)
    with pytest.raises(InputError, match="8 held-out documents, fewer than one global evaluation batch of 16"):
        trainer.train()
    assert trainer.state.global_step == 0
