"""The estimate of memory and arithmetic against models that are there."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import T5Config, T5EncoderModel

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.finetune import finetune
from hf_cocondenser.finetuning.fresh_t5 import fresh_t5_config
from hf_cocondenser.finetuning.lora import add_lora
from hf_cocondenser.finetuning.recipes import finetune_options
from hf_cocondenser.finetuning.retriever_start import load_starting_point
from hf_cocondenser.finetuning.t5_estimate import estimate_cost, log_estimates, t5_size


def gtr(**options) -> RetrieverTrainingArguments:
    """The training arguments of GTR's recipe."""
    return finetune_options("gtr", **options).args


ROWS, LENGTH = 4, 32


def shape(**changes) -> T5Config:
    config = fresh_t5_config("t5:2x64", 300)
    for name, value in {"dropout_rate": 0.0, **changes}.items():
        setattr(config, name, value)
    return T5Config.from_dict(config.to_dict() | changes)


def exactly(**options) -> RetrieverTrainingArguments:
    """One batch of ROWS passages of LENGTH tokens, and no queries to speak of."""
    defaults = {
        "per_device_train_batch_size": ROWS,
        "negatives_per_query": 0,
        "query_length": 3,
        "passage_length": LENGTH,
    }
    return gtr(**{**defaults, "bf16": False, "chunk_tokens": ROWS * LENGTH, **options})


def forward(model: T5EncoderModel) -> torch.Tensor:
    ids = torch.ones(ROWS, LENGTH, dtype=torch.long)
    return model(input_ids=ids, attention_mask=ids).last_hidden_state


def saved_bytes(config: T5Config) -> int:
    """What the forward pass keeps for the backward pass, the weights not counted."""
    model = T5EncoderModel(config).train()
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward(model)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_parameters_are_counted(t5_folder: Path, tmp_path: Path):
    config = gtr(projection=24, lora_rank=None)
    model = load_starting_point(t5_folder, config)
    assert estimate_cost(model[0].auto_model.config, config).parameters == sum(p.numel() for p in model.parameters())
    config = gtr(projection=24, lora_rank=2)
    pytest.importorskip("peft")
    add_lora(model, 2)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert estimate_cost(model[0].auto_model.config, config).trained == trained


def test_the_papers_sizes():
    """110M, 335M, 1.24B and 4.8B parameters (table 1 of the paper), the projection aside."""
    config = gtr(projection=None)
    found = [estimate_cost(t5_size(name), config).parameters / 1e6 for name in ("base", "large", "xl", "xxl")]
    assert found == pytest.approx([110, 335, 1240, 4800], rel=0.02)


@pytest.mark.parametrize("changes", [{}, {"d_ff": 512, "num_heads": 4}, {"feed_forward_proj": "gated-gelu"}])
def test_activations_are_what_the_model_keeps(changes: dict):
    one, two = (saved_bytes(shape(num_layers=layers, **changes)) for layers in (1, 2))
    estimated = estimate_cost(shape(num_layers=1, **changes), exactly()).activations
    assert two - one == pytest.approx(estimated, rel=0.15)


def test_arithmetic_is_what_the_model_does():
    config, options = shape(), exactly(query_length=3, gradient_cache=False)
    with FlopCounterMode(display=False) as counter:
        forward(T5EncoderModel(config)).sum().backward()
    estimated = estimate_cost(config, options).operations * LENGTH / (LENGTH + 3)
    assert counter.get_total_flops() == pytest.approx(estimated, rel=0.15)
    ratio = estimate_cost(config, exactly()).operations / estimate_cost(config, options).operations
    assert ratio == pytest.approx(4 / 3)  # the cache's forward pass


def test_what_saves_memory_does():
    large = t5_size("large")
    plain = estimate_cost(large, gtr())
    assert (
        estimate_cost(large, gtr(per_device_train_batch_size=16)).activations == plain.activations
    )  # the cache's promise
    assert estimate_cost(large, gtr(gradient_cache=False)).activations > 100 * plain.activations
    assert estimate_cost(large, gtr(activation_checkpointing=True)).activations < plain.activations / 5
    assert plain.optimizer < plain.gradients / 100
    assert estimate_cost(large, gtr(optim="adamw_torch")).optimizer == 2 * plain.gradients
    assert estimate_cost(large, gtr(lora_rank=8)).memory < plain.memory - 0.9 * plain.gradients
    assert plain.hours(2000) == pytest.approx(2 * plain.hours(1000))


def test_it_is_logged_before_anything_else(t5_folder: Path, backbone_folder: Path, tmp_path: Path, caplog):
    caplog.set_level(logging.INFO)
    with pytest.raises(InputError):
        finetune(t5_folder, tmp_path / "no_data", tmp_path / "out", gtr())
    text = caplog.text
    for name in ("this model", "T5 base", "T5 large", "T5 xl", "T5 xxl"):
        assert name in text
    assert "4.87B parameters" in text
    caplog.clear()
    log_estimates(backbone_folder, RetrieverTrainingArguments())
    assert not caplog.text
    log_estimates("t5:2x64", gtr())
    assert "this model" in caplog.text
