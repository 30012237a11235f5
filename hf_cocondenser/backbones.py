"""How each encoder family exposes its blocks and its MLM head: the one place that knows families."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForMaskedLM, PreTrainedConfig, PreTrainedModel
from transformers.activations import gelu
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_MAPPING,
)

from .errors import InputError


@dataclass(frozen=True)
class EncoderFamily:
    """How a family's masked language model scores the vocabulary, and what its blocks end in.

    The family's `AutoModelForMaskedLM` is an encoder (its `base_model`), which takes `inputs_embeds` and keeps what embeds
    the tokens in `embeddings`, and the modules of an MLM head beside it. Both functions are given a module `head` that
    holds these under their own names.

    Attributes:
        transform: `head` and hidden states (tokens, hidden) -> (tokens, embedding size).
        decoder: `head` and the word embeddings -> the weight (vocabulary, embedding size) that scores the vocabulary, and
            the bias (vocabulary,) or `None`.
        splits_feed_forward: whether blocks end in `intermediate` and `output`, a feed-forward network that takes each
            token by itself, as BERT's do; the last block then runs only where it is read.

    Example:
        >>> from hf_cocondenser import EncoderFamily, register_family
        >>> family = EncoderFamily(  # whose MLM head is BERT's
        ...     transform=lambda head, hidden: head.cls.predictions.transform(hidden),
        ...     decoder=lambda head, embeddings: (head.cls.predictions.decoder.weight, head.cls.predictions.bias),
        ... )
        >>> register_family("my-bert", family)
    """

    transform: Callable[[Any, Tensor], Tensor]
    decoder: Callable[[Any, nn.Module], tuple[Tensor, Tensor | None]]
    splits_feed_forward: bool = False


def register_family(model_type: str, family: EncoderFamily) -> None:
    """Make an encoder family of one's own known, so that a Condenser can be put on its checkpoints.

    Args:
        model_type: of its configuration, which transformers must know (`AutoConfig.register`, `AutoModel.register`,
            `AutoModelForMaskedLM.register`).
        family: its MLM head; see `EncoderFamily` for what its models must have.
    """
    FAMILIES[model_type] = family


def _linear(module: Any) -> tuple[Tensor, Tensor | None]:
    return module.weight, module.bias


def _roberta_transform(head: Any, hidden: Tensor) -> Tensor:
    return head.lm_head.layer_norm(gelu(head.lm_head.dense(hidden)))


def _distilbert_transform(head: Any, hidden: Tensor) -> Tensor:
    return head.vocab_layer_norm(head.activation(head.vocab_transform(hidden)))


def _deberta_transform(head: Any, hidden: Tensor) -> Tensor:
    if hasattr(head, "cls"):
        return head.cls.predictions.transform(hidden)
    inner = head.lm_predictions.lm_head
    return inner.LayerNorm(inner.transform_act_fn(inner.dense(hidden)))


def _deberta_decoder(head: Any, embeddings: Any) -> tuple[Tensor, Tensor | None]:
    if hasattr(head, "cls"):
        return _linear(head.cls.predictions.decoder)
    return embeddings.weight, head.lm_predictions.lm_head.bias


_BERT = EncoderFamily(
    lambda head, hidden: head.cls.predictions.transform(hidden),
    lambda head, _: _linear(head.cls.predictions.decoder),
    splits_feed_forward=True,
)
_ROBERTA = EncoderFamily(_roberta_transform, lambda head, _: _linear(head.lm_head.decoder), splits_feed_forward=True)

FAMILIES: dict[str, EncoderFamily] = {
    "bert": _BERT,
    "ernie": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "mpnet": _ROBERTA,
    "electra": EncoderFamily(
        lambda head, hidden: head.generator_predictions(hidden),
        lambda head, _: _linear(head.generator_lm_head),
        splits_feed_forward=True,
    ),
    "distilbert": EncoderFamily(_distilbert_transform, lambda head, _: _linear(head.vocab_projector)),
    "deberta-v2": EncoderFamily(_deberta_transform, _deberta_decoder),
    "modernbert": EncoderFamily(lambda head, hidden: head.head(hidden), lambda head, _: _linear(head.decoder)),
}


# Encoders without a CLS token, with relative positions, and with feed-forward sums that overflow float16.
T5_FAMILY = frozenset({"t5", "mt5", "umt5", "longt5"})


def is_t5(config: PreTrainedConfig) -> bool:
    """Whether an encoder is of T5's family."""
    return config.model_type in T5_FAMILY


def is_decoder(config: PreTrainedConfig) -> bool:
    """Whether a token sees only those before it (GPT-2, LLaMA, ...), so that the last one alone has seen the text."""
    only_causal = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and type(config) not in MODEL_FOR_MASKED_LM_MAPPING
    return bool(only_causal or getattr(config, "is_decoder", False))


def pooler_option(config: PreTrainedConfig) -> dict[str, bool]:
    """The argument that keeps a family's encoder from making a pooler, which no retriever here uses; may be none."""
    encoder = MODEL_MAPPING[type(config)]
    takes_it = "add_pooling_layer" in inspect.signature(encoder.__init__).parameters
    return {"add_pooling_layer": False} if takes_it else {}


def usable_positions(encoder: PreTrainedModel) -> int | None:
    """Longest input in tokens, special tokens included; None where positions are relative and there is no limit."""
    positions = getattr(encoder.config, "max_position_embeddings", None)
    if is_t5(encoder.config) or positions is None or positions < 0:  # XLNet says -1
        return None
    for name, module in encoder.named_modules():
        # RoBERTa and its kin number positions from the padding index on.
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return positions - module.padding_idx - 1
    return positions


def set_dropout(model: nn.Module, probability: float) -> None:
    """Set every dropout probability of a transformers model, in its modules and in the configuration that is saved.

    Args:
        model: an encoder, or a Condenser, whose configuration holds its encoder's.
        probability: of a number to be dropped, 0 to 1.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability
        for name in ("dropout", "dropout_prob", "attention_dropout"):  # attention layers keep a plain number
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, probability)
    config: Any = getattr(model.config, "backbone_config", model.config)
    for name, value in config.to_dict().items():
        if isinstance(value, float) and ("dropout" in name or name == "attn_pdrop"):
            setattr(config, name, probability)


def require_family(config: PreTrainedConfig) -> None:
    """Refuse an encoder whose MLM head and blocks we do not know.

    Raises:
        InputError: `config.model_type` is not a supported family.
    """
    if config.model_type not in FAMILIES:
        raise InputError(
            f"'{config.model_type}' is not a supported encoder family for Condenser pre-training; "
            f"use one of {', '.join(sorted(FAMILIES))}, or make it known with register_family."
        )


def build_masked_lm(config: PreTrainedConfig) -> PreTrainedModel:
    """The family's own masked language model with fresh weights."""
    require_family(config)
    return AutoModelForMaskedLM.from_config(config, dtype=torch.get_default_dtype())


def take_mlm_head(masked_lm: PreTrainedModel) -> tuple[nn.Module, dict[str, str]]:
    """Take what is not the encoder out of a family's masked language model.

    Returns:
        A module holding the head's modules under their own names, and the family's tied weights as
        `{target: source}` with the names they have under `mlm_head` and `condenser.backbone`.
    """
    prefix = masked_lm.base_model_prefix
    head = nn.Module()
    for name, child in masked_lm.named_children():
        if name != prefix:
            head.add_module(name, child)
    tied = {}
    there = {name for name, _ in masked_lm.named_parameters(remove_duplicate=False)}
    for target, source in (masked_lm._tied_weights_keys or {}).items():
        if target not in there:  # transformers 5.17's DeBERTa-v2 names one that does not exist
            continue
        inside = source.startswith(f"{prefix}.")
        source = f"condenser.backbone.{source.removeprefix(f'{prefix}.')}" if inside else f"mlm_head.{source}"
        tied[f"mlm_head.{target}"] = source
    return head, tied


class _PassThrough(nn.Module):
    """Takes the place of a backbone's embeddings: hands `inputs_embeds` on unchanged."""

    word_embeddings = None  # get_input_embeddings() reads it

    def forward(self, input_ids: None = None, inputs_embeds: Tensor | None = None, *args, **kwargs) -> Tensor | None:
        return inputs_embeds


def build_condenser_head(config: PreTrainedConfig, n_layers: int) -> PreTrainedModel:
    """Blocks of the backbone's own kind that read hidden states: the family's model without its embeddings.

    The family's forward then makes its own masks, position biases and final norm; for BERT it equals a plain stack
    of `BertLayer`. Call it with `inputs_embeds` (spans, length, hidden) and `attention_mask`.
    """
    config = copy.deepcopy(config)
    config.num_hidden_layers = n_layers
    config.vocab_size, config.pad_token_id = 2, 0  # the word embeddings are removed below
    if getattr(config, "layer_types", None):  # ModernBERT: CLS must see every token
        config.layer_types = ["full_attention"] * n_layers
    if getattr(config, "conv_kernel_size", 0):  # DeBERTa-v2: the convolution would leak padding
        config.conv_kernel_size = 0
    head = AutoModel.from_config(config, dtype=torch.get_default_dtype())
    if getattr(head, "pooler", None) is not None:
        head.pooler = None
    if hasattr(head.embeddings, "tok_embeddings"):
        head.embeddings.tok_embeddings = None  # ModernBERT keeps norm and dropout: its blocks are pre-norm
    else:
        head.embeddings = _PassThrough()
    if hasattr(head, "embeddings_project"):
        del head.embeddings_project
    return head


@contextmanager
def last_block_at(model: PreTrainedModel, read: Tensor) -> Iterator[None]:
    """Inside, the last block's feed-forward network runs only where its output is read, and is zero elsewhere.

    It is two thirds of a block's products. Families whose blocks are built in another way run whole.

    Args:
        model: an encoder or a Condenser head.
        read: (spans, length), true where the last hidden states are read.
    """
    if not FAMILIES[model.config.model_type].splits_feed_forward or model.config.chunk_size_feed_forward:
        yield
        return
    block = model.encoder.layer[-1]

    def spread(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        hidden = output.new_zeros(*read.shape, output.shape[-1])
        hidden[read] = output
        return hidden

    hooks = [
        block.intermediate.register_forward_pre_hook(lambda module, inputs: inputs[0][read]),
        block.output.register_forward_pre_hook(lambda module, inputs: (inputs[0], inputs[1][read])),
        block.output.register_forward_hook(spread),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def mix(early: Tensor, late: Tensor) -> Tensor:
    """The head's input [h_late[CLS] ; h_early[tokens 1..]] (arXiv 2104.08253, eq. 6), (spans, length, hidden)."""
    return torch.cat([late[:, :1], early[:, 1:]], dim=1)
