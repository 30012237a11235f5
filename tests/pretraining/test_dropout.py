"""Dropout set after loading: in every family, nothing of it is left on."""

from __future__ import annotations

import pytest
import torch

from hf_cocondenser import CondenserConfig, CondenserForPreTraining
from hf_cocondenser.backbones import set_dropout
from tests.families import FAMILIES, random_batch


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_set_to_zero_is_off_in_encoder_and_head_and_in_what_is_saved(family):
    config = CondenserConfig(backbone_config=FAMILIES[family].to_dict(), n_head_layers=2)
    torch.manual_seed(0)
    model = CondenserForPreTraining(config).train()
    batch = random_batch(FAMILIES[family])
    set_dropout(model, 0.3)
    assert not torch.equal(model(**batch).loss, model(**batch).loss)
    set_dropout(model, 0.0)
    torch.testing.assert_close(model(**batch).loss, model(**batch).loss, rtol=0, atol=0)
    saved = model.config.backbone_config.to_dict()
    assert not [name for name, value in saved.items() if "dropout" in name and value]
