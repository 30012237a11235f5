"""Tiny configurations of every supported encoder family, and random masked batches for them."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import (
    BertConfig,
    CamembertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ErnieConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

VOCABULARY = 97
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
_DEBERTA = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8, "share_att_key": True}

FAMILIES: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**_SIZES),
    "ernie": ErnieConfig(**_SIZES),
    "roberta": RobertaConfig(**_SIZES),
    "xlm-roberta": XLMRobertaConfig(**_SIZES),
    "camembert": CamembertConfig(**_SIZES),
    "electra": ElectraConfig(**_SIZES, embedding_size=16),
    "distilbert": DistilBertConfig(
        vocab_size=VOCABULARY, dim=32, n_layers=4, n_heads=4, hidden_dim=48, max_position_embeddings=64
    ),
    "mpnet": MPNetConfig(**_SIZES),
    "deberta-v2": DebertaV2Config(**_SIZES, **_DEBERTA),
    "deberta-v2 (not legacy)": DebertaV2Config(**_SIZES, **_DEBERTA, legacy=False, norm_rel_ebd="layer_norm"),
    "modernbert": ModernBertConfig(**_SIZES, **_IDS),
}


def random_batch(config: PreTrainedConfig, spans: int = 6, length: int = 12, seed: int = 0) -> dict[str, Tensor]:
    """Spans of mixed lengths with a few labels each, two adjacent spans a document."""
    generator = torch.Generator().manual_seed(seed)
    pad = config.pad_token_id or 0
    input_ids = torch.randint(5, VOCABULARY, (spans, length), generator=generator)
    lengths = torch.randint(4, length + 1, (spans,), generator=generator)
    lengths[0] = length
    attention_mask = (torch.arange(length) < lengths[:, None]).long()
    input_ids[attention_mask == 0] = pad
    chosen = torch.rand(spans, length, generator=generator) < 0.3
    chosen[:, 1] = True
    chosen &= attention_mask.bool()
    chosen[:, 0] = False
    labels = torch.where(chosen, torch.randint(5, VOCABULARY, (spans, length), generator=generator), -100)
    document_ids = torch.arange(spans) // 2 + 100
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels, "document_ids": document_ids}
