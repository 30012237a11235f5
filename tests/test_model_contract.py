"""What transformers promises of every model, for every encoder family."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForPreTraining

from hf_cocondenser import CondenserConfig, CondenserForPreTraining, InputError
from tests.families import FAMILIES, random_batch
from tests.test_modeling import tiny

every_family = pytest.mark.parametrize("family", FAMILIES)


def batch_for(model, *, labels: bool = True) -> dict[str, torch.Tensor]:
    batch = random_batch(model.config)
    names = ("input_ids", "attention_mask", "labels") if labels else ("input_ids", "attention_mask")
    return {name: batch[name] for name in names}


@every_family
def test_resized_embeddings_reach_decoder_bias_and_configuration(family, tmp_path):
    model = tiny(family)
    before = model(**batch_for(model, labels=False)).logits.detach()
    model.resize_token_embeddings(103)
    inputs = batch_for(model, labels=False)
    logits = model(**inputs).logits
    torch.testing.assert_close(logits[..., :97], before)
    assert logits.shape[-1] == 103 == model.config.vocab_size == model.config.backbone_config.vocab_size
    model(input_ids=inputs["input_ids"], labels=torch.full_like(inputs["input_ids"], 102)).loss.backward()
    model.save_pretrained(tmp_path)
    again, info = CondenserForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert torch.equal(again.eval()(**inputs).logits, logits)
    assert AutoModel.from_pretrained(tmp_path).get_input_embeddings().num_embeddings == 103
    model.resize_token_embeddings(97)
    torch.testing.assert_close(model(**inputs).logits, before)


def test_untied_embeddings_are_resized_both():
    config = copy.deepcopy(FAMILIES["bert"])
    config.tie_word_embeddings = False
    model = CondenserForPreTraining(CondenserConfig(config)).eval()
    before = model(**batch_for(model, labels=False)).logits.detach()
    model.resize_token_embeddings(103)
    logits = model(**batch_for(model, labels=False)).logits
    torch.testing.assert_close(logits[..., :97], before)
    assert model.get_output_embeddings().weight is not model.get_input_embeddings().weight
    model(**batch_for(model)).loss.backward()
    assert model.get_output_embeddings().bias.grad.shape == (103,)


@every_family
def test_embeddings_are_tied_and_can_be_replaced(family):
    model = tiny(family)
    weight, _ = model._decoder()
    assert weight is model.get_input_embeddings().weight
    embeddings = torch.nn.Embedding(97, weight.shape[1])
    model.set_input_embeddings(embeddings)
    model.tie_weights()
    assert model.get_input_embeddings() is embeddings and model._decoder()[0] is embeddings.weight
    if (output := model.get_output_embeddings()) is not None:
        model.set_output_embeddings(output)
        assert model.get_output_embeddings() is output


@every_family
def test_outputs_as_they_are_asked_for(family):
    model = CondenserForPreTraining._from_config(
        CondenserConfig(copy.deepcopy(FAMILIES[family])), attn_implementation="eager"
    ).eval()
    for labels in (True, False):
        inputs = batch_for(model, labels=labels)
        output = model(**inputs)
        assert output.hidden_states is None and output.attentions is None
        as_tuple = model(**inputs, return_dict=False)
        assert isinstance(as_tuple, tuple) and torch.equal(as_tuple[0], output[0])
        full = model(**inputs, output_hidden_states=True, output_attentions=True)
        assert len(full.hidden_states) == 5 and len(full.attentions) == 4
        assert full.attentions[0].shape == (6, 4, 12, 12)
        assert torch.equal(full.hidden_states[-1][:, 0], full.cls)
    model.config.output_hidden_states, model.config.return_dict = True, False
    assert len(model(**inputs)) == 3  # logits, cls, hidden states
    assert isinstance(model.condenser(**inputs), tuple)


@every_family
def test_bf16_in_shards(family, tmp_path):
    model = tiny(family).to(torch.bfloat16)
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    for auto in (CondenserForPreTraining, AutoModelForMaskedLM, AutoModelForPreTraining):
        again, info = auto.from_pretrained(tmp_path, output_loading_info=True)
        assert again.dtype == torch.bfloat16 and not info["missing_keys"]
        for name, value in model.state_dict().items():
            assert torch.equal(again.state_dict()[name], value), name
    assert CondenserForPreTraining.from_pretrained(tmp_path, dtype="float32").dtype == torch.float32


def test_the_type_is_what_transformers_makes_of_it(tmp_path):
    """A constructor makes float32 whatever the encoder's configuration says, as BertForMaskedLM does."""
    config = copy.deepcopy(FAMILIES["bert"])
    config.dtype = "bfloat16"
    assert AutoModelForMaskedLM.from_config(config, dtype=torch.float32).dtype == torch.float32
    assert {p.dtype for p in CondenserForPreTraining(CondenserConfig(config)).parameters()} == {torch.float32}
    as_bf16 = CondenserForPreTraining._from_config(CondenserConfig(config), dtype=torch.bfloat16)
    assert {p.dtype for p in as_bf16.parameters()} == {torch.bfloat16}
    as_bf16.save_pretrained(tmp_path / "condenser")
    AutoModelForMaskedLM.from_config(config, dtype=torch.bfloat16).save_pretrained(tmp_path / "bert")
    for source in (tmp_path / "condenser", tmp_path / "bert", as_bf16):
        types = [
            CondenserForPreTraining.from_backbone(source, **arguments).dtype
            for arguments in ({}, {"dtype": "auto"}, {"dtype": "bfloat16"}, {"torch_dtype": torch.float16})
        ]
        assert types == [torch.float32, torch.bfloat16, torch.bfloat16, torch.float16]


@every_family
def test_a_model_in_memory_is_a_backbone_too(family):
    torch.manual_seed(3)
    masked_lm = AutoModelForMaskedLM.from_config(copy.deepcopy(FAMILIES[family])).eval()
    model = CondenserForPreTraining.from_backbone(masked_lm).eval()
    inputs = batch_for(model, labels=False)
    torch.testing.assert_close(model(**inputs).logits, masked_lm(**inputs).logits)
    of_encoder = CondenserForPreTraining.from_backbone(masked_lm.base_model).eval()
    assert torch.equal(of_encoder(**inputs).cls, model(**inputs).cls)
    again = CondenserForPreTraining.from_backbone(model, n_head_layers=1).eval()
    torch.testing.assert_close(again(**inputs).logits, model(**inputs).logits)
    assert again.config.n_head_layers == 1
    again.get_input_embeddings().weight.data.zero_()  # a copy
    assert masked_lm.get_input_embeddings().weight.abs().sum() > 0


@every_family
def test_adapters_are_all_that_is_trained(family):
    from peft import LoraConfig

    model = tiny(family)
    plain = model(**batch_for(model)).loss
    model.add_adapter(LoraConfig(r=2, target_modules="all-linear"))
    torch.testing.assert_close(model(**batch_for(model)).loss, plain)
    assert {name for name, p in model.named_parameters() if p.requires_grad and "lora" not in name} == set()
    model(**batch_for(model)).loss.backward()
    assert any(p.grad is not None for p in model.parameters())


@pytest.mark.slow
@every_family
def test_compiled_and_exported_give_the_same(family):
    model = tiny(family)
    inputs, with_labels = batch_for(model, labels=False), batch_for(model)
    compiled = torch.compile(model, backend="eager")
    torch.testing.assert_close(compiled(**with_labels).loss, model(**with_labels).loss)
    exported = torch.export.export(model, tuple(inputs.values())).module()
    torch.testing.assert_close(exported(*inputs.values()).logits, model(**inputs).logits)
    encoder = torch.export.export(model.condenser, tuple(inputs.values())).module()
    torch.testing.assert_close(encoder(*inputs.values()).last_hidden_state[:, 0], model(**inputs).cls)


@every_family
def test_a_model_is_on_one_device(family, tmp_path):
    model = tiny(family)
    model.save_pretrained(tmp_path)
    for device_map in ("auto", "cpu", {"": "cpu"}):
        again = CondenserForPreTraining.from_pretrained(tmp_path, device_map=device_map)
        assert len({p.device for p in again.parameters()}) == 1
    with pytest.raises(InputError, match="over several devices"):
        CondenserForPreTraining.from_pretrained(tmp_path, device_map={"condenser": "cpu", "head": "disk"})


@every_family
def test_logits_are_those_that_the_loss_is_of(family):
    """Fill-mask predicts with what was trained: the last layer, or the Condenser head where late MLM is off."""
    for late_mlm, part in ((True, "late_mlm_loss"), (False, "head_mlm_loss")):
        model = tiny(family, late_mlm=late_mlm)
        logits = model(**batch_for(model, labels=False)).logits
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), batch_for(model)["labels"])
        torch.testing.assert_close(loss, getattr(model(**batch_for(model)), part))


def test_padding_on_the_left_is_refused():
    model = tiny()
    inputs = {name: value.flip(1) for name, value in batch_for(model).items()}
    with pytest.raises(InputError, match="padded on the left"):
        model(**inputs)
