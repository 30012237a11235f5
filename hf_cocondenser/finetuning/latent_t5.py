"""Initial weights for a T5 encoder trained from scratch: latent semantic analysis of the texts it is for.

The same thought as `hf_cocondenser.pretraining.latent_start`, in T5's architecture: what goes in passes through a
residual stream, a last RMSNorm and the mean over the tokens. With embeddings that hold each token's latent vector, as
long as its inverse document frequency, and blocks that add little, that mean is the classic latent semantic vector of
the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from hf_cocondenser.pretraining.latent_start import MOST_WINDOWS, WINDOW, count_tokens, latent_vectors

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, T5EncoderModel

FILLER = 1
"""Dimensions, the last ones, that make all embeddings equally long, so that the RMSNorm leaves the others' lengths alone."""

_TEXTS_AT_ONCE = 1000
_BLOCK_OUTPUT = 0.1  # of the usual size: the residual stream rules, and gradients still reach every weight


def start_t5_from_texts(
    encoder: T5EncoderModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, seed: int
) -> None:
    """Change an untrained encoder in place so that the mean of its outputs is about the latent semantic vector of a text.

    Tokens that occur in no text keep their random embeddings; those that the tokenizer puts around every text get none
    of the meaning.

    Args:
        encoder: with random weights; its width is the number of latent dimensions plus one.
        tokenizer: the encoder's.
        texts: what it will read; the first 256 tokens of at most 100,000 of them, chosen evenly, are counted.
        seed: of the randomised decomposition.
    """
    counts = count_tokens(_tokens(tokenizer, texts), encoder.config.vocab_size)
    width = encoder.config.d_model
    vectors, log_idf = latent_vectors(counts, width - FILLER, seed)
    idf = np.exp(log_idf)
    rows = np.zeros((len(vectors), width))
    rows[:, :-FILLER] = vectors * (idf / idf.max())[:, None]
    constant = tokenizer("")["input_ids"]
    rows[constant] = 0.0
    rows[:, -FILLER:] = np.sqrt((1 - np.square(rows).sum(1, keepdims=True)).clip(0) / FILLER)
    known = np.union1d(np.flatnonzero(vectors.any(axis=1)), constant)
    with torch.no_grad():
        embeddings = encoder.get_input_embeddings().weight
        embeddings[known] = torch.from_numpy(rows[known] * width**0.5).to(embeddings)
        for name, weight in encoder.encoder.named_parameters():
            if "layer_norm" in name:  # the filler says nothing: neither the blocks nor what comes behind is to see it
                weight[-FILLER:] = 0.0
            elif name.endswith((".o.weight", ".wo.weight")):
                weight *= _BLOCK_OUTPUT


def start_projection(weight: torch.Tensor, *, seed: int) -> None:
    """Make a projection (outputs, width) of such an encoder a rotation in place, of the leading latent dimensions only
    where there are more of them than outputs, so that cosines stay what they are."""
    outputs, width = weight.shape
    kept = min(outputs, width - FILLER)
    rotation = torch.nn.init.orthogonal_(torch.empty(outputs, kept), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        weight.zero_()
        weight[:, :kept] = rotation.to(weight)


def _tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Iterator[npt.NDArray[np.integer]]:
    chosen = texts[:: max(1, -(-len(texts) // MOST_WINDOWS))]
    for start in range(0, len(chosen), _TEXTS_AT_ONCE):
        block = list(chosen[start : start + _TEXTS_AT_ONCE])
        found = tokenizer(block, add_special_tokens=False, truncation=True, max_length=WINDOW)
        yield from (np.asarray(ids, np.int64) for ids in found["input_ids"] if ids)
