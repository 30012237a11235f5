"""The model against the equations, for every family, in float64; and its life as a Hugging Face checkpoint."""

from __future__ import annotations

import copy
import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForPreTraining, BertConfig, GPT2Config

from hf_cocondenser import CondenserConfig, CondenserForPreTraining, CondenserModel, InputError
from tests.families import FAMILIES, random_batch


def tiny(family: str = "bert", **settings) -> CondenserForPreTraining:
    torch.manual_seed(0)
    return CondenserForPreTraining(CondenserConfig(copy.deepcopy(FAMILIES[family]), **settings)).eval()


@pytest.mark.parametrize("late_mlm", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_equals_the_equations_in_float64(family, late_mlm):
    """Early and late states by the family's own hidden states, the head and the logits by plain modules."""
    model = tiny(family, late_mlm=late_mlm).double()
    reference_lm = AutoModelForMaskedLM.from_config(copy.deepcopy(FAMILIES[family])).double().eval()
    prefix = reference_lm.base_model_prefix
    weights = {f"{prefix}.{k}": v for k, v in model.condenser.backbone.state_dict().items()}
    reference_lm.load_state_dict(weights | dict(model.mlm_head.state_dict()))
    batch = random_batch(model.config)
    ids, mask, labels = batch["input_ids"], batch["attention_mask"], batch["labels"]

    states = reference_lm.base_model(ids, attention_mask=mask, output_hidden_states=True)
    h_late, h_early = states.last_hidden_state, states.hidden_states[2]
    mixed = torch.stack([torch.cat([late[:1], early[1:]]) for late, early in zip(h_late, h_early, strict=True)])
    h_head = model.head(inputs_embeds=mixed, attention_mask=mask).last_hidden_state
    expected = 0
    for hidden in (h_head, h_late) if late_mlm else (h_head,):
        logits = _family_logits(reference_lm, hidden)
        expected = expected + F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)

    output = model(ids, mask, labels=labels)
    torch.testing.assert_close(output.loss, expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(output.cls, h_late[:, 0], rtol=1e-11, atol=1e-11)
    assert (output.late_mlm_loss is None) is not late_mlm
    grads = torch.autograd.grad(output.loss, list(model.condenser.parameters()), allow_unused=True)
    wanted = torch.autograd.grad(expected, list(reference_lm.base_model.parameters()), allow_unused=True)
    names = [name for name, _ in model.condenser.backbone.named_parameters()]
    for name, grad, want in zip(names, grads, wanted, strict=True):
        if "word_embeddings" in name or "tok_embeddings" in name:
            continue  # tied to the MLM head here and there alike, but not listed the same way
        assert (grad is None) == (want is None), name
        if grad is not None:
            torch.testing.assert_close(grad, want, rtol=1e-9, atol=1e-11)


def _family_logits(lm, hidden):
    """The whole-vocabulary scores, through each family's own published modules."""
    match lm.config.model_type:
        case "bert" | "ernie":
            return lm.cls(hidden)
        case "roberta" | "xlm-roberta" | "camembert" | "mpnet":
            return lm.lm_head(hidden)
        case "electra":
            return lm.generator_lm_head(lm.generator_predictions(hidden))
        case "modernbert":
            return lm.decoder(lm.head(hidden))
        case "distilbert":
            return lm.vocab_projector(lm.vocab_layer_norm(lm.activation(lm.vocab_transform(hidden))))
        case "deberta-v2":
            return (
                lm.cls(hidden)
                if lm.config.legacy
                else lm.lm_predictions(hidden, lm.deberta.embeddings.word_embeddings)
            )


def test_bert_head_is_a_plain_stack_of_bert_layers():
    model = tiny().double()
    hidden = torch.randn(3, 7, 32, dtype=torch.float64)
    expected = hidden
    for layer in model.head.encoder.layer:
        expected = layer(expected, None)
    torch.testing.assert_close(model.head(inputs_embeds=hidden).last_hidden_state, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("position, changes", [(0, True), (1, False), (2, False)])
def test_head_sees_late_states_through_cls_only(position, changes):
    model = tiny(late_mlm=False).double()
    batch = random_batch(model.config)
    inputs = (batch["input_ids"], batch["attention_mask"], batch["labels"])
    plain = model(*inputs).loss
    noise = torch.zeros(12, 32, dtype=torch.float64)
    noise[position] = torch.randn(32, dtype=torch.float64)
    hook = model.condenser.backbone.encoder.layer[-1].register_forward_hook(lambda _module, _inputs, out: out + noise)
    changed = model(*inputs).loss
    hook.remove()
    assert bool((changed - plain).abs() > 1e-9) is changes


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_nothing_and_every_parameter_learns(family):
    model = tiny(family).double()
    batch = random_batch(model.config, length=12)
    extra = {
        k: F.pad(v, (0, 3), value={"input_ids": model.config.pad_token_id, "labels": -100}.get(k, 0) or 0)
        for k, v in batch.items()
        if v.dim() > 1
    }
    output = model(batch["input_ids"], batch["attention_mask"], batch["labels"])
    padded = model(extra["input_ids"], extra["attention_mask"], extra["labels"])
    torch.testing.assert_close(padded.loss, output.loss, rtol=1e-10, atol=1e-10)
    output.loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_checkpoint_round_trip(family, tmp_path):
    model = tiny(family)
    model.save_pretrained(tmp_path)
    batch = random_batch(model.config)
    inputs = (batch["input_ids"], batch["attention_mask"], batch["labels"])
    again, info = CondenserForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert torch.equal(again.eval()(*inputs).loss, model(*inputs).loss)
    assert (tmp_path / "model.safetensors").is_file()
    encoder = AutoModel.from_pretrained(tmp_path)
    assert isinstance(encoder, CondenserModel)
    assert torch.equal(encoder(*inputs[:2]).last_hidden_state[:, 0], model(*inputs).cls)
    for auto in (AutoModelForMaskedLM, AutoModelForPreTraining):
        assert isinstance(auto.from_pretrained(tmp_path), CondenserForPreTraining)


def test_mlm_head_is_tied_to_the_word_embeddings_after_loading(tmp_path):
    tiny().save_pretrained(tmp_path)
    model = CondenserForPreTraining.from_pretrained(tmp_path)
    assert model.mlm_head.cls.predictions.decoder.weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("family", FAMILIES)
def test_from_backbone_keeps_encoder_and_mlm_head(family, tmp_path):
    torch.manual_seed(1)
    lm = AutoModelForMaskedLM.from_config(copy.deepcopy(FAMILIES[family])).eval()
    lm.save_pretrained(tmp_path)
    try:
        AutoModelForMaskedLM.from_pretrained(tmp_path)
    except AttributeError as error:  # 5.17, DeBERTa-v2 with the newer head
        pytest.skip(f"this transformers cannot load what it saved itself: {error}")
    model = CondenserForPreTraining.from_backbone(tmp_path, n_head_layers=1).eval()
    assert model.config.skip_from == 2 and model.config.n_head_layers == 1
    batch = random_batch(model.config)
    expected = lm(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    torch.testing.assert_close(model(batch["input_ids"], batch["attention_mask"]).logits, expected)


def test_backbone_without_mlm_head_gets_a_fresh_one_and_a_warning(tmp_path, caplog):
    AutoModel.from_config(copy.deepcopy(FAMILIES["bert"])).save_pretrained(tmp_path)
    import transformers

    transformers.utils.logging.enable_propagation()
    CondenserForPreTraining.from_backbone(tmp_path)
    transformers.utils.logging.disable_propagation()
    assert "has no MLM head" in caplog.text


def test_missing_condenser_head_is_refused_and_the_way_out_works(tmp_path):
    model = tiny()
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith("head.")}
    model.save_pretrained(tmp_path, state_dict=weights)
    with pytest.raises(InputError, match=r"lacks its Condenser head.*from_backbone"):
        CondenserForPreTraining.from_pretrained(tmp_path)
    again = CondenserForPreTraining.from_backbone(tmp_path)
    assert torch.equal(again.get_input_embeddings().weight, model.get_input_embeddings().weight)


def test_plain_checkpoint_is_refused_and_the_way_out_named(tmp_path):
    AutoModelForMaskedLM.from_config(copy.deepcopy(FAMILIES["bert"])).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="from_backbone"):
        CondenserForPreTraining.from_pretrained(tmp_path)


@pytest.mark.parametrize("skip_from", [0, 4, 9, -1])
def test_skip_from_out_of_range(skip_from):
    with pytest.raises(InputError, match="from 1 to 3"):
        CondenserConfig(BertConfig(num_hidden_layers=4), skip_from=skip_from)


def test_unknown_family_is_refused(tmp_path):
    with pytest.raises(InputError, match="'gpt2' is not a supported encoder family"):
        CondenserForPreTraining(CondenserConfig(GPT2Config(n_layer=2, n_embd=8, n_head=2)))


def test_no_head_is_plain_masked_language_modelling():
    model = tiny(n_head_layers=0)
    batch = random_batch(model.config)
    output = model(batch["input_ids"], batch["attention_mask"], batch["labels"])
    assert output.head_mlm_loss is None and torch.equal(output.loss, output.late_mlm_loss)


@pytest.mark.parametrize("settings", [{"late_mlm": True}, {"late_mlm": False}, {"n_head_layers": 0}], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_last_blocks_do_only_what_is_read_and_nothing_changes(family, settings):
    model = tiny(family, **settings).double()
    batch = random_batch(model.config)
    mask, masked = batch["attention_mask"], batch["labels"] != -100
    inputs = (batch["input_ids"], mask, batch["labels"])
    results, tokens = [], []
    for name, module in model.named_modules():
        if name.endswith(("backbone.encoder.layer.3.intermediate", "head.encoder.layer.1.intermediate")):
            module.dense.register_forward_hook(lambda module, _, output: tokens.append(output[..., 0].numel()))
    for context in (nullcontext(), model.last_blocks_at(batch["labels"])):
        model.zero_grad()
        with context:
            output = model(*inputs)
        (output.loss + output.cls.pow(3).sum()).backward()
        results.append(
            (output.loss, output.cls, {n: p.grad for n, p in model.named_parameters() if p.grad is not None})
        )
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)

    if family in ("bert", "ernie", "roberta", "xlm-roberta", "camembert", "mpnet", "electra"):
        with_cls = masked.clone() if model.config.late_mlm else torch.zeros_like(masked)
        with_cls[:, 0] = True
        heads = 1 if model.head is not None else 0
        assert tokens == [masked.numel()] * (1 + heads) + [int(with_cls.sum())] + [int(masked.sum())] * heads
    with torch.no_grad():
        assert torch.equal(model(*inputs).cls, results[0][1])  # the hooks are gone


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_attention_implementation_reaches_backbone_and_head(implementation, tmp_path):
    tiny().save_pretrained(tmp_path)
    model = CondenserForPreTraining.from_pretrained(tmp_path, attn_implementation=implementation)
    assert model.head.config._attn_implementation == implementation
    assert model.condenser.backbone.config._attn_implementation == implementation


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "mpnet"])
def test_gradient_checkpointing_gives_the_same_gradient(family):
    model = tiny(family).train().double()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch = random_batch(model.config)
    inputs = (batch["input_ids"], batch["attention_mask"], batch["labels"])
    model(*inputs).loss.backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    model.gradient_checkpointing_enable()
    model(*inputs).loss.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, grads[name], rtol=1e-8, atol=1e-10)


@pytest.mark.slow
def test_remote_code_loads_where_the_package_is_not_installed(tmp_path):
    """A process that cannot import hf_cocondenser loads all four Auto classes with trust_remote_code."""
    model = tiny()
    model.save_pretrained(tmp_path / "checkpoint")
    batch = random_batch(model.config)
    torch.save(batch["input_ids"], tmp_path / "ids.pt")
    code = f"""
import sys
sys.modules["hf_cocondenser"] = None
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForPreTraining
ids = torch.load({str(tmp_path / "ids.pt")!r}, weights_only=True)
for auto in (AutoModelForPreTraining, AutoModelForMaskedLM):
    model, info = auto.from_pretrained({str(tmp_path / "checkpoint")!r}, trust_remote_code=True, output_loading_info=True)
    assert not info["missing_keys"], info
encoder = AutoModel.from_pretrained({str(tmp_path / "checkpoint")!r}, trust_remote_code=True)
torch.save([model(ids).cls.detach(), encoder(ids).last_hidden_state[:, 0].detach()], {str(tmp_path / "cls.pt")!r})
"""
    environment = {"HF_HOME": str(tmp_path / "hf"), "PATH": "", "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment, capture_output=True)
    expected = model(batch["input_ids"]).cls
    for cls in torch.load(tmp_path / "cls.pt", weights_only=True):
        torch.testing.assert_close(cls, expected)


def test_config_round_trip(tmp_path):
    config = CondenserConfig(FAMILIES["roberta"], n_head_layers=3, skip_from=1, late_mlm=False)
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(again, CondenserConfig) and again.backbone_config.model_type == "roberta"
    assert (again.n_head_layers, again.skip_from, again.late_mlm, again.hidden_size) == (3, 1, False, 32)


def test_attention_that_is_asked_for_reaches_a_condenser_on_a_plain_encoder(tmp_path):
    AutoModelForMaskedLM.from_config(FAMILIES["bert"]).save_pretrained(tmp_path)
    model = CondenserForPreTraining.from_backbone(tmp_path, attn_implementation="eager")
    assert model.head.config._attn_implementation == "eager"
    assert model.condenser.backbone.config._attn_implementation == "eager"
