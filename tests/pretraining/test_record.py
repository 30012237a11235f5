"""What a run with `CondenserTrainer` leaves: its checkpoint, card and export know where the weights come from."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertForMaskedLM

from hf_cocondenser import (
    CondenserForPreTraining,
    CondenserTrainer,
    CondenserTrainingArguments,
    InputError,
    SpanDataset,
    publish,
    save_retriever,
)
from hf_cocondenser.data.tokenizer import load_tokenizer
from hf_cocondenser.hub.records import card_from_records
from hf_cocondenser.retrieval.retriever import as_retriever, is_retriever
from tests.pretraining.test_trainer import trainer_for


def run(tmp_path: Path, spans: Path, start: Path, **options) -> CondenserTrainer:
    tokenizer = load_tokenizer(spans / "tokenizer")
    if not start.exists():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
        )
        BertForMaskedLM(config).save_pretrained(start)
        model = CondenserForPreTraining.from_backbone(start)
    else:
        model = CondenserForPreTraining.from_pretrained(start)
    settings = {"max_steps": 2, "per_device_train_batch_size": 8, "per_device_eval_batch_size": 8, "logging_steps": 1,
                "use_cpu": True, "save_strategy": "no", "report_to": "none", "disable_tqdm": True}  # fmt: skip
    trainer = CondenserTrainer(
        model,
        CondenserTrainingArguments(str(tmp_path / "out"), **(settings | options)),
        train_dataset=SpanDataset(spans, pairs=True, max_length=32),
        eval_dataset=SpanDataset(spans, pairs=True, max_length=32, split="evaluation"),
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.evaluate()
    return trainer


@pytest.fixture
def trained(tmp_path, spans_folder):
    return run(tmp_path, spans_folder, tmp_path / "my-bert", temperature=7.0)


def said_by(card: str) -> None:
    """What every card of this run must say."""
    assert "my-bert (a local checkpoint)" in card
    assert "documents" in card and "2 steps" in card
    assert "| learning_rate | 0.0001 |" in card and "| temperature | 7.0 |" in card
    assert "| held-out loss |" in card and "| held-out accuracy |" in card


def test_the_card_of_a_run_knows_base_model_data_settings_and_losses(trained, tmp_path):
    trained.create_model_card(model_name="Mine", language="en", license="mit", dataset="my/data")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    said_by(card.text)
    assert card.data.license == "mit" and card.data.language == ["en"] and card.data.datasets == ["my/data"]
    assert "# Mine" in card.text
    trained.create_model_card(finetuned_from="bert-base-uncased")
    assert ModelCard.load(tmp_path / "out" / "README.md").data.base_model == "bert-base-uncased"


def test_the_examples_of_its_card_run(trained, tmp_path):
    trained.save_model()
    trained.create_model_card()
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", card, re.S)
    assert len(blocks) == 3
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]


def test_exports_after_a_run_know_it_too(trained, tmp_path):
    save_retriever(trained.model, tmp_path / "from-memory", tokenizer=trained.processing_class)
    trained.save_model()
    save_retriever(tmp_path / "out", tmp_path / "from-folder")
    for name in ("from-memory", "from-folder"):
        said_by((tmp_path / name / "README.md").read_text("utf-8"))
        assert (tmp_path / name / "pretraining.json").is_file()


def test_who_goes_on_keeps_the_scale_of_the_vectors(trained, tmp_path, spans_folder):
    """temperature and normalize of None mean: as the checkpoint was trained."""
    trained.save_model()
    again = run(tmp_path / "again", spans_folder, tmp_path / "out")
    assert again.args.temperature == 7.0 and again.args.normalize is False
    assert again.record_details["earlier_stage"]["stage"] == "cocondenser"
    again.create_model_card()
    assert "coCondenser pre-training (2)" in (tmp_path / "again" / "out" / "README.md").read_text("utf-8")
    other = run(tmp_path / "other", spans_folder, tmp_path / "out", normalize=True, max_steps=1)
    assert other.args.temperature == 1.0


@pytest.mark.parametrize("normalize", [False, True])
def test_sentence_transformers_reads_pooling_and_similarity(tmp_path, spans_folder, normalize):
    trainer = run(tmp_path, spans_folder, tmp_path / "bert", normalize=normalize, save_strategy="steps", save_steps=1)
    trainer.save_model()
    save_retriever(tmp_path / "out", tmp_path / "retriever")
    expected = SentenceTransformer(str(tmp_path / "retriever"), device="cpu")
    texts = ["ba de ki", "lo mu"]
    for folder in (tmp_path / "out", tmp_path / "out" / "checkpoint-1", tmp_path / "out" / "checkpoint-2"):
        retriever = SentenceTransformer(str(folder), device="cpu")
        assert retriever[1].pooling_mode == "cls"
        assert retriever.similarity_fn_name == expected.similarity_fn_name == ("cosine" if normalize else "dot")
    torch.testing.assert_close(torch.tensor(retriever.encode(texts)), torch.tensor(expected.encode(texts)))


def test_it_is_still_a_pre_training_checkpoint_to_this_package(trained, tmp_path):
    """Fine-tuning and search start from the plain encoder, and it is not published as a retriever."""
    trained.save_model()
    assert not is_retriever(tmp_path / "out")
    assert as_retriever(tmp_path / "out")[0].auto_model.config.model_type == "bert"
    with pytest.raises(InputError, match="is not a retriever"):
        publish(tmp_path / "out", "me/mine")


def test_the_shipped_checkpoint_says_so_too():
    from hf_cocondenser import checkpoint_path

    retriever = SentenceTransformer(str(checkpoint_path("cocondenser-tiny")), device="cpu")
    assert retriever[1].pooling_mode == "cls" and retriever.similarity_fn_name == "dot"


def test_a_data_set_and_a_model_of_ones_own_are_recorded_as_far_as_they_are_known(tmp_path):
    trainer = trainer_for(tmp_path / "out", max_steps=1, dtype=torch.float32)
    trainer.train()
    trainer.save_model()
    record = trainer.model.pretraining_record
    assert record["start"] == "" and record["spans"]["source"] == "a ToySpans"
    card = card_from_records(tmp_path / "out")
    assert card.base_model is None and card.training_data[0].startswith("coCondenser pre-training: a ToySpans; ")
