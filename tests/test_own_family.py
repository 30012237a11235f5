"""An encoder family of one's own, registered in a few lines."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    PreTrainedModel,
)
from transformers.modeling_outputs import MaskedLMOutput

from hf_cocondenser import CondenserConfig, CondenserForPreTraining, EncoderFamily, InputError, register_family
from tests.families import random_batch

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


class OurConfig(BertConfig):
    model_type = "our-encoder"


class OurModel(BertModel):
    config_class = OurConfig


class OurForMaskedLM(PreTrainedModel):
    """With a head unlike any family's: a layer norm, and a projection that is not tied."""

    config_class = OurConfig
    base_model_prefix = "encoder"

    def __init__(self, config: OurConfig) -> None:
        super().__init__(config)
        self.encoder = OurModel(config, add_pooling_layer=False)
        self.norm = torch.nn.LayerNorm(config.hidden_size)
        self.project = torch.nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def forward(self, input_ids, attention_mask=None):
        hidden = self.encoder(input_ids, attention_mask).last_hidden_state
        return MaskedLMOutput(logits=self.project(self.norm(hidden)))


def register() -> None:
    AutoConfig.register("our-encoder", OurConfig, exist_ok=True)
    AutoModel.register(OurConfig, OurModel, exist_ok=True)
    AutoModelForMaskedLM.register(OurConfig, OurForMaskedLM, exist_ok=True)


def test_it_is_refused_until_it_is_registered_and_then_pre_trains(tmp_path):
    register()
    masked_lm = OurForMaskedLM(OurConfig(**SIZES)).eval()
    masked_lm.save_pretrained(tmp_path / "encoder")
    with pytest.raises(InputError, match="make it known with register_family"):
        CondenserForPreTraining.from_backbone(tmp_path / "encoder")
    family = EncoderFamily(
        transform=lambda head, hidden: head.norm(hidden),
        decoder=lambda head, embeddings: (head.project.weight, head.project.bias),
        splits_feed_forward=True,
    )
    register_family("our-encoder", family)
    model = CondenserForPreTraining.from_backbone(tmp_path / "encoder").eval()
    batch = random_batch(model.config)
    inputs = (batch["input_ids"], batch["attention_mask"])
    torch.testing.assert_close(model(*inputs).logits, masked_lm(*inputs).logits)
    with model.last_blocks_at(batch["labels"]):
        loss = model(*inputs, batch["labels"]).loss
    torch.testing.assert_close(loss, model(*inputs, batch["labels"]).loss)
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    model.save_pretrained(tmp_path / "condenser")
    again = CondenserForPreTraining.from_pretrained(tmp_path / "condenser").eval()
    assert torch.equal(again(*inputs, batch["labels"]).loss, model(*inputs, batch["labels"]).loss)
    assert torch.equal(AutoModel.from_pretrained(tmp_path / "condenser")(*inputs)[0][:, 0], model(*inputs).cls)


@pytest.mark.slow
def test_the_documented_lines_run():
    code = "\n".join(
        line.strip()[4:] if line.strip().startswith((">>> ", "... ")) else ""
        for line in (EncoderFamily.__doc__ or "").splitlines()
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_family_that_has_berts_head_is_told_in_three_lines(tmp_path):
    class MyConfig(BertConfig):
        model_type = "my-bert"

    class MyModel(BertModel):
        config_class = MyConfig

    class MyForMaskedLM(BertForMaskedLM):
        config_class = MyConfig

    AutoConfig.register("my-bert", MyConfig)
    AutoModel.register(MyConfig, MyModel)
    AutoModelForMaskedLM.register(MyConfig, MyForMaskedLM)
    register_family(
        "my-bert",
        EncoderFamily(
            lambda head, hidden: head.cls.predictions.transform(hidden),
            lambda head, embeddings: (head.cls.predictions.decoder.weight, head.cls.predictions.bias),
        ),
    )
    model = CondenserForPreTraining(CondenserConfig(MyConfig(**SIZES)))
    batch = random_batch(model.config)
    model(batch["input_ids"], batch["attention_mask"], batch["labels"]).loss.backward()
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
