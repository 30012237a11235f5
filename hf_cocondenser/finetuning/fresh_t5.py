"""A small T5 encoder that was never trained: `t5:LAYERSxHIDDEN`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.latent_t5 import start_projection, start_t5_from_texts
from hf_cocondenser.finetuning.retriever_start import load_starting_point
from hf_cocondenser.hub.layout import save_portable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, T5Config

_FRESH = re.compile(r"t5:(\d+)x(\d+)")
_READ = ("vocabulary", "seed", "pooling", "projection", "similarity")  # of the configuration
_WIDE = 512  # from this width on heads have T5's 64 dimensions, below 32, so that narrow models have several


def is_fresh_t5(start: str | Path) -> bool:
    """Whether a starting point names a T5 encoder to be made: `t5:LAYERSxHIDDEN`.

    Raises:
        InputError: it begins like one and is none.
    """
    if not str(start).startswith("t5:"):
        return False
    if not _FRESH.fullmatch(str(start)):
        raise InputError(f"'{start}' is no fresh encoder; write t5:LAYERSxHIDDEN, such as t5:4x256.")
    return True


def fresh_t5_config(shape: str, vocabulary: int) -> T5Config:
    """The configuration of `t5:LAYERSxHIDDEN` in the proportions of T5 1.0 (ReLU, feed-forward four times as wide).

    Raises:
        InputError: there is no layer, or the width cannot be cut into heads.
    """
    from transformers import T5Config

    match = _FRESH.fullmatch(shape)
    assert match is not None  # `is_fresh_t5` comes first
    layers, hidden = int(match[1]), int(match[2])
    head = 64 if hidden >= _WIDE else 32
    if not layers or not hidden or hidden % head:
        raise InputError(f"'{shape}': there must be a layer, and the hidden size must be a multiple of {head}.")
    return T5Config(
        vocab_size=vocabulary,
        d_model=hidden,
        d_kv=head,
        d_ff=4 * hidden,
        num_layers=layers,
        num_heads=hidden // head,
        is_encoder_decoder=False,
        use_cache=False,
    )


def make_fresh_t5(
    shape: str,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    folder: Path,
    args: RetrieverTrainingArguments,
) -> Path:
    """Write an untrained retriever on T5 that begins as a latent semantic model of its texts (`start_t5_from_texts`).

    Args:
        shape: `t5:LAYERSxHIDDEN`.
        tokenizer: its vocabulary becomes the encoder's; `train_wordpiece` makes one of the texts it is for.
        texts: what it is for.
        folder: where to.
        args: seed, pooling, projection and similarity.

    Returns:
        `folder`.

    Raises:
        InputError: the shape cannot be used.
    """
    import torch
    from sentence_transformers.sentence_transformer.modules import Dense
    from transformers import T5EncoderModel

    shape_config = fresh_t5_config(shape, len(tokenizer))
    shape_config.pad_token_id = tokenizer.pad_token_id
    last = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    shape_config.eos_token_id = last
    torch.manual_seed(args.seed)
    encoder = T5EncoderModel(shape_config)
    start_t5_from_texts(encoder, tokenizer, texts, seed=args.seed)
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if args.projection:
        retriever = load_starting_point(folder, args.changed(untied=False, dropout=None))
        for module in retriever:
            if isinstance(module, Dense):
                start_projection(module.linear.weight, seed=args.seed)
        save_portable(retriever, folder)
    return folder


def fresh_inputs(shape: str, texts: Any, args: RetrieverTrainingArguments) -> dict[str, Any]:
    """What a fresh encoder depends on; `texts` tells them apart."""
    return {"shape": shape, "texts": texts} | {name: getattr(args, name) for name in _READ}
