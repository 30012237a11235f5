"""From a retriever, a plain checkpoint or a Condenser checkpoint to the model that is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from hf_cocondenser import CondenserForPreTraining
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.retriever_start import (
    freeze_unused,
    load_starting_point,
)
from hf_cocondenser.retrieval.retriever import fingerprint, transformers_of


def test_a_plain_checkpoint_gets_cls_pooling_and_the_dot_product(
    backbone_folder: Path, make_retriever, tmp_path: Path
):
    model = load_starting_point(backbone_folder, RetrieverTrainingArguments(query_length=7, passage_length=20))
    assert model.similarity_fn_name == "dot"
    texts = ["w1 w2 w3", "w4"]
    torch.testing.assert_close(
        torch.from_numpy(model.encode(texts)), torch.from_numpy(make_retriever().encode(texts)), rtol=1e-5, atol=1e-5
    )
    long = " ".join(["w1"] * 60)
    assert model.preprocess([long], task="query")["input_ids"].shape == (1, 7)
    assert model.preprocess([long], task="document")["input_ids"].shape == (1, 20)
    assert model[0].auto_model.pooler is None and model[0].auto_model.dtype == torch.float32


def test_the_encoder_of_a_condenser_gets_the_pooling_that_is_asked_for(backbone_folder: Path, tmp_path: Path):
    condenser = CondenserForPreTraining.from_backbone(backbone_folder)
    condenser.save_pretrained(tmp_path / "condenser")
    AutoTokenizer.from_pretrained(backbone_folder).save_pretrained(tmp_path / "condenser")
    settings = RetrieverTrainingArguments(pooling="mean", projection=8, similarity="cosine")
    one = load_starting_point(tmp_path / "condenser", settings)
    other = load_starting_point(backbone_folder, settings)
    assert one[1].pooling_mode == "mean" and len(one) == 4
    torch.testing.assert_close(torch.from_numpy(one.encode(["w1 w2"])), torch.from_numpy(other.encode(["w1 w2"])))
    default = load_starting_point(tmp_path / "condenser", RetrieverTrainingArguments())
    assert default[1].pooling_mode == "cls" and default.similarity_fn_name == "dot"


def test_a_condenser_is_made_a_retriever_in_memory(backbone_folder: Path, tmp_path: Path):
    condenser = CondenserForPreTraining.from_backbone(backbone_folder)
    condenser.save_pretrained(tmp_path / "condenser")
    AutoTokenizer.from_pretrained(backbone_folder).save_pretrained(tmp_path / "condenser")
    before = sorted(tmp_path.rglob("*"))
    model = load_starting_point(tmp_path / "condenser", RetrieverTrainingArguments())
    assert sorted(tmp_path.rglob("*")) == before
    own = condenser.get_input_embeddings().weight
    assert torch.equal(model[0].auto_model.get_input_embeddings().weight, own)
    assert fingerprint(model) == fingerprint(load_starting_point(tmp_path / "condenser", RetrieverTrainingArguments()))


def test_a_retriever_is_used_as_it_is(make_retriever, tmp_path: Path):
    original = make_retriever("cosine")
    original.prompts = {"query": "w7 ", "document": ""}
    original.save_pretrained(str(tmp_path / "retriever"))
    model = load_starting_point(tmp_path / "retriever", RetrieverTrainingArguments())
    assert model.similarity_fn_name == "cosine" and model.prompts["query"] == "w7 "
    forced = load_starting_point(tmp_path / "retriever", RetrieverTrainingArguments(similarity="dot"))
    assert forced.similarity_fn_name == "dot"


def test_untied_encoders_start_equal_and_are_two(backbone_folder: Path, tmp_path: Path):
    model = load_starting_point(backbone_folder, RetrieverTrainingArguments(untied=True, query_length=9))
    tied = load_starting_point(backbone_folder, RetrieverTrainingArguments(query_length=9))
    one, two = transformers_of(model)
    assert one is not two and one.query_length == two.query_length == 9
    for encode in ("encode_query", "encode_document"):
        torch.testing.assert_close(
            torch.from_numpy(getattr(model, encode)(["w1 w2"])), torch.from_numpy(getattr(tied, encode)(["w1 w2"]))
        )


def test_lengths_beyond_the_positions_are_cut(backbone_folder: Path, tmp_path: Path):
    model = load_starting_point(backbone_folder, RetrieverTrainingArguments(passage_length=500))
    assert model[0].document_length == 64


def test_unused_parameters_are_frozen(make_retriever):
    model = make_retriever()
    assert freeze_unused(model) == []
    model[0].auto_model.unused = torch.nn.Linear(2, 2)
    assert sorted(name.rsplit(".", 1)[1] for name in freeze_unused(model)) == ["bias", "weight"]
    assert all(p.grad is None for p in model.parameters())


def test_the_fingerprint_sees_a_single_weight(make_retriever):
    model = make_retriever()
    before = fingerprint(model)
    assert before == fingerprint(make_retriever())
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1e-6
    assert fingerprint(model) != before


def test_what_is_no_checkpoint(tmp_path: Path, beir_folder: Path):
    for path in (beir_folder, tmp_path / "nothing"):
        with pytest.raises(InputError, match=path.name):
            load_starting_point(path, RetrieverTrainingArguments())
