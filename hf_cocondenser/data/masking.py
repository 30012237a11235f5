"""BERT's whole-word masking of many texts at once: 15 % of the tokens by whole words, 80/10/10.

Everything random is a function of a text's key and of the position in it, so a mask depends on nothing else.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hf_cocondenser.data.hashing import UInt64, random_bits, uniform

_ORDER, _LAST, _ACTION, _REPLACEMENT = (np.uint64(salt) << np.uint64(48) for salt in range(4))
_HIGH_BITS = np.uint64(24)  # the text's number goes above the 40 random bits that order its words


def choose_words(
    word_texts: npt.NDArray[np.integer], word_lengths: npt.NDArray[np.integer], keys: UInt64, probability: float
) -> npt.NDArray[np.bool_]:
    """Choose words at random until `probability` of each text's tokens is reached; at least one word per text.

    A word that would pass the budget is taken with the probability that keeps the expected number of tokens exact,
    so long words are chosen about as often as short ones.

    Args:
        word_texts: for each word the index of its text; sorted.
        word_lengths: its number of tokens.
        keys (texts): one key per text.
    """
    if not len(word_texts):
        return np.zeros(0, bool)
    firsts = np.flatnonzero(np.diff(word_texts, prepend=-1))  # (texts that have words)
    counts = np.diff(np.append(firsts, len(word_texts)))
    ordinals = np.arange(len(word_texts)) - np.repeat(firsts, counts)
    word_keys = keys[word_texts]
    shuffled = random_bits(word_keys, ordinals.astype(np.uint64) | _ORDER) >> _HIGH_BITS
    order = np.argsort((word_texts.astype(np.uint64) << np.uint64(40)) | shuffled)

    lengths = word_lengths[order]
    ends = np.cumsum(lengths)
    before = ends - lengths
    before = before - np.repeat(before[firsts], counts)  # tokens of the text's words earlier in the random order
    budgets = probability * np.add.reduceat(word_lengths, firsts)
    room = np.repeat(budgets, counts) - before
    coins = uniform(word_keys[order], ordinals[order].astype(np.uint64) | _LAST)
    taken = coins * lengths < room

    empty = ~np.logical_or.reduceat(taken, firsts)
    if empty.any():  # the shortest word, which passes the budget least
        ranks = (lengths.astype(np.uint64) << np.uint64(40)) | shuffled[order]
        shortest = np.repeat(np.minimum.reduceat(ranks, firsts), counts)
        taken |= np.repeat(empty, counts) & (ranks == shortest)
    chosen = np.empty_like(taken)
    chosen[order] = taken
    return chosen


def choose_tokens(
    starts: npt.NDArray[np.bool_],
    texts: npt.NDArray[np.integer],
    maskable: npt.NDArray[np.bool_],
    keys: UInt64,
    probability: float,
) -> npt.NDArray[np.intp]:
    """Return the flat indices of the tokens of the chosen words.

    Args:
        starts (tokens): the token begins a word; true wherever a text begins.
        texts (tokens): the index of the token's text; sorted.
        maskable (tokens): false for special tokens; a word with one in it is never chosen.
        keys (texts): one key per text.
    """
    if not len(starts):
        return np.zeros(0, np.intp)
    heads = np.flatnonzero(starts)
    lengths = np.diff(np.append(heads, len(starts)))
    allowed = np.logical_and.reduceat(maskable, heads)
    chosen = np.zeros(len(heads), bool)
    chosen[allowed] = choose_words(texts[heads[allowed]], lengths[allowed], keys, probability)
    return np.flatnonzero(np.repeat(chosen, lengths))


def replace_tokens(
    ids: npt.NDArray[np.integer],
    keys: UInt64,
    positions: npt.NDArray[np.integer],
    mask_id: int,
    ordinary_ids: npt.NDArray[np.integer],
) -> npt.NDArray[np.integer]:
    """Return what stands in the place of chosen tokens: 80 % the mask, 10 % an ordinary token, 10 % themselves.

    Args:
        ids, keys, positions (chosen tokens): the token, its text's key and its place in the text.
        ordinary_ids: the ids that may stand in (no special tokens).
    """
    counters = positions.astype(np.uint64)
    actions = uniform(keys, counters | _ACTION)
    scaled = (random_bits(keys, counters | _REPLACEMENT) >> np.uint64(32)) * np.uint64(len(ordinary_ids))
    others = ordinary_ids[scaled >> np.uint64(32)]
    return np.where(actions < 0.8, mask_id, np.where(actions < 0.9, others, ids))
