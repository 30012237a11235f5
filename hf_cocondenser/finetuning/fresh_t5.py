"""A small T5 encoder with random weights: `t5:LAYERSxHIDDEN`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from hf_cocondenser.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, T5Config

_FRESH = re.compile(r"t5:(\d+)x(\d+)")
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


def make_fresh_t5(shape: str, tokenizer: PreTrainedTokenizerBase, folder: Path, *, seed: int = 42) -> Path:
    """Write a T5 encoder checkpoint with random weights.

    Args:
        shape: `t5:LAYERSxHIDDEN`.
        tokenizer: its vocabulary becomes the encoder's; `train_wordpiece` makes one of the texts it is for.
        folder: where to.
        seed: of the weights.

    Returns:
        `folder`.

    Raises:
        InputError: the shape cannot be used.
    """
    import torch
    from transformers import T5EncoderModel

    config = fresh_t5_config(shape, len(tokenizer))
    config.pad_token_id = tokenizer.pad_token_id
    config.eos_token_id = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    torch.manual_seed(seed)
    T5EncoderModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
