"""The untrained model that the quickstart starts from when it trains from scratch.

Random weights as BERT's say next to nothing about the text: the CLS vector is nearly constant, and most of a training
of ten minutes goes into changing that. So attention's value and output maps start near the identity (mimetic
initialisation, Trockman and Kolter 2023, arXiv 2305.09828), and what is the same in every text (CLS and SEP, positions,
segments) starts at zero: the CLS vector then is about a mean of random word vectors, and training begins with a
retriever of words.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import BertConfig, BertModel, PreTrainedTokenizerBase, set_seed

from hf_cocondenser.configuration_condenser import CondenserConfig
from hf_cocondenser.modeling_condenser import CondenserForPreTraining
from hf_cocondenser.quickstart.recipe import Recipe


def save_initial_checkpoint(folder: Path, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, seed: int) -> None:
    """Write an untrained pre-training checkpoint with its tokenizer."""
    config = BertConfig(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        num_hidden_layers=recipe.layers,
        hidden_size=recipe.hidden,
        num_attention_heads=recipe.hidden // 64,
        intermediate_size=recipe.intermediate,
        max_position_embeddings=128,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    set_seed(seed)
    model = CondenserForPreTraining(
        CondenserConfig(config, n_head_layers=recipe.head_layers, late_mlm=recipe.late_mlm)
    )
    backbone = model.get_backbone()
    assert isinstance(backbone, BertModel)
    start_as_bag_of_words(backbone, [tokenizer.cls_token_id, tokenizer.sep_token_id])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def start_as_bag_of_words(encoder: BertModel, constant_ids: list[int]) -> None:
    """Change fresh weights in place; `constant_ids` are the tokens that stand in every text."""
    embeddings = encoder.embeddings
    with torch.no_grad():
        embeddings.word_embeddings.weight[constant_ids] = 0.0
        embeddings.position_embeddings.weight.zero_()
        embeddings.token_type_embeddings.weight.zero_()
        for layer in encoder.encoder.layer:
            value, output = layer.attention.self.value.weight, layer.attention.output.dense.weight
            for weight in (value, output):
                weight += torch.eye(len(weight))
