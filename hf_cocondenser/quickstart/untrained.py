"""Models nobody has trained: what training from scratch starts from, and random weights to compare with."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel, BertConfig, BertModel, PreTrainedTokenizerBase, set_seed

from hf_cocondenser.configuration_condenser import CondenserConfig
from hf_cocondenser.data.store import SpanStore
from hf_cocondenser.data.tokenizer import load_tokenizer
from hf_cocondenser.modeling_condenser import CondenserForPreTraining
from hf_cocondenser.pretraining.latent_start import start_from_documents
from hf_cocondenser.quickstart.settings import Settings
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.loading import loading


def save_initial_checkpoint(
    folder: Path, tokenizer: PreTrainedTokenizerBase, spans: Path, settings: Settings, seed: int
) -> None:
    """Write an untrained pre-training checkpoint for these spans, with its tokenizer."""
    config = BertConfig(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        num_hidden_layers=settings.layers,
        hidden_size=settings.hidden,
        num_attention_heads=settings.hidden // 64,
        intermediate_size=settings.intermediate,
        max_position_embeddings=128,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    set_seed(seed)
    model = CondenserForPreTraining(
        CondenserConfig(config, n_head_layers=settings.head_layers, late_mlm=settings.late_mlm)
    )
    backbone = model.get_backbone()
    assert isinstance(backbone, BertModel)
    start_from_documents(backbone, SpanStore(spans), [tokenizer.cls_token_id, tokenizer.sep_token_id], seed=seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_random_weights(model: str | Path, folder: Path, seed: int) -> Path:
    """Write an encoder of a checkpoint's shape with weights drawn anew, and the checkpoint's tokenizer.

    Raises:
        InputError: the checkpoint cannot be read.
    """
    source = checkpoint_path(model)
    with loading("The model", source):
        config = AutoConfig.from_pretrained(source)
    torch.manual_seed(seed)
    fresh = AutoModel.from_config(getattr(config, "backbone_config", config), dtype=torch.float32)
    load_tokenizer(source).save_pretrained(folder)
    fresh.save_pretrained(folder)
    return folder
