"""Masked batches: layout, rates, whole words, and masks that depend on keys alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BertTokenizer

from hf_cocondenser.data.collator import CondenserCollator
from hf_cocondenser.data.masking import choose_words, replace_tokens
from hf_cocondenser.data.preview import preview_masks
from hf_cocondenser.errors import InputError

IDS = [5, 6, 7, 8, 9, 14, 15]  # hello wor ##ld ##s , retrieve ##r


def item(document: int, *spans: list[int], **more: object) -> dict:
    keys = [1000 * document + position for position in range(len(spans))]
    return {"spans": list(spans), "keys": keys, "document_id": document, **more}


def random_items(tokenizer, documents: int, seed: int = 0, longest: int = 60) -> list[dict]:
    rng = np.random.default_rng(seed)
    size = len(tokenizer)
    return [
        item(n, *(rng.integers(5, size, rng.integers(1, longest)).tolist() for _ in range(2)))
        for n in range(documents)
    ]


def originals(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.where(batch["labels"] >= 0, batch["labels"], batch["input_ids"])


def binomial_bounds(n: int, p: float, sigmas: float = 4.5) -> tuple[float, float]:
    spread = sigmas * (p * (1 - p) / n) ** 0.5
    return p - spread, p + spread


def test_layout(bert):
    batch = CondenserCollator(bert, max_length=16)([item(7, [5, 6, 7], [9]), item(3, IDS, [5, 5])])
    assert originals(batch).tolist() == [
        [2, 5, 6, 7, 3, 0, 0, 0, 0],
        [2, 9, 3, 0, 0, 0, 0, 0, 0],
        [2, 5, 6, 7, 8, 9, 14, 15, 3],
        [2, 5, 5, 3, 0, 0, 0, 0, 0],
    ]
    assert batch["attention_mask"].sum(dim=1).tolist() == [5, 3, 9, 4]
    assert batch["attention_mask"].tolist()[1] == [1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert batch["document_ids"].tolist() == [7, 7, 3, 3]
    assert {name: value.dtype for name, value in batch.items()} == dict.fromkeys(batch, torch.int64)


RECORDED = {
    "input_ids": [[2, 4, 6, 7, 8, 9, 14, 15, 3], [2, 5, 4, 4, 9, 16, 17, 3, 0]],
    "labels": [[-100, 5, -100, -100, -100, -100, -100, -100, -100], [-100, -100, 9, 5, -100, -100, -100, -100, -100]],
}


def test_literal_mask(bert):
    """One recorded mask: a change of it would change every run that is resumed."""
    batch = CondenserCollator(bert, max_length=32, mlm_probability=0.4)([item(1, IDS, [5, 9, 5, 9, 16, 17])])
    assert batch["input_ids"].tolist() == RECORDED["input_ids"]
    assert batch["labels"].tolist() == RECORDED["labels"]


def test_padding_to_a_multiple_and_cutting_to_the_maximum(bert):
    collator = CondenserCollator(bert, max_length=10, pad_to_multiple_of=8)
    batch = collator([item(0, [5] * 50, [6, 7])])
    assert batch["input_ids"].shape == (2, 16)
    assert batch["attention_mask"].sum(dim=1).tolist() == [10, 4]
    assert batch["input_ids"][0, 9] == bert.sep_token_id


def test_arrays_and_lists_give_the_same(bert):
    collator = CondenserCollator(bert, max_length=16)
    lists = collator([item(4, IDS)])
    arrays = collator([item(4, np.array(IDS, np.uint16))])
    assert all(torch.equal(lists[name], arrays[name]) for name in lists)


def test_rates(wordpiece):
    items = random_items(wordpiece, 2000)
    batch = CondenserCollator(wordpiece, max_length=64)(items)
    masked = batch["labels"] >= 0
    long = batch["attention_mask"].sum(dim=1) >= 22  # in short spans the word that is always chosen weighs more
    tokens = int((batch["attention_mask"].sum(dim=1)[long] - 2).sum())
    low, high = binomial_bounds(tokens, 0.15)
    assert low < masked[long].sum().item() / tokens < high

    seen, wanted = batch["input_ids"][masked], batch["labels"][masked]
    n = len(seen)
    special = 4 / len(wordpiece)
    for share, expected in [
        ((seen == wordpiece.mask_token_id).float().mean().item(), 0.8),
        ((seen == wanted).float().mean().item(), 0.1 + 0.1 / len(wordpiece)),
        (((seen != wanted) & (seen != wordpiece.mask_token_id)).float().mean().item(), 0.1),
    ]:
        low, high = binomial_bounds(n, expected)
        assert low - special < share < high + special


def test_long_words_are_chosen_about_as_often_as_short_ones():
    """Skipping the words that pass the budget would hardly ever choose the long ones."""
    rng = np.random.default_rng(0)
    texts, per_text = 4000, 20
    lengths = rng.integers(1, 9, texts * per_text)
    chosen = choose_words(np.repeat(np.arange(texts), per_text), lengths, np.arange(texts, dtype=np.uint64), 0.15)
    low, high = binomial_bounds(lengths.sum() / 8, 0.15)  # tokens of a word are chosen together
    assert low < lengths[chosen].sum() / lengths.sum() < high
    for length in (1, 4, 8):
        assert 0.13 < chosen[lengths == length].mean() < 0.18


def test_never_splits_a_word(wordpiece):
    items = random_items(wordpiece, 300)
    batch = CondenserCollator(wordpiece, max_length=64)(items)
    continues = torch.tensor([t.startswith("##") for t in wordpiece.convert_ids_to_tokens(range(len(wordpiece)))])
    ids, masked = originals(batch), batch["labels"] >= 0
    inside = continues[ids][:, 1:] & (torch.arange(1, ids.shape[1]) > 1)  # the first token of a span begins a word
    assert inside.any()
    assert torch.equal(masked[:, 1:][inside], masked[:, :-1][inside])


def test_every_span_has_a_label_and_special_tokens_none(wordpiece):
    batch = CondenserCollator(wordpiece, max_length=64)(random_items(wordpiece, 500))
    masked = batch["labels"] >= 0
    assert masked.any(dim=1).all()
    special = torch.tensor(wordpiece.all_special_ids)
    assert not torch.isin(originals(batch)[masked], special).any()
    others = batch["input_ids"][masked]
    others = others[others != wordpiece.mask_token_id]
    assert not torch.isin(others, special).any()
    assert len(others.unique()) > 100  # stand-ins come from the whole vocabulary


def test_unknown_tokens_are_not_predicted(bert):
    batch = CondenserCollator(bert, max_length=16)([item(n, [1, 1, 1, 1, 5]) for n in range(50)])
    assert batch["labels"][batch["labels"] >= 0].unique().tolist() == [5]


def test_only_the_vocabulary_stands_in():
    tokenizer = BertTokenizer(
        vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5, "b": 40}  # holes between
    )
    assert CondenserCollator(tokenizer, max_length=8).ordinary_ids.tolist() == [5, 40]
    ids = np.full(2000, 5)
    out = replace_tokens(ids, np.arange(2000, dtype=np.uint64), np.zeros(2000, int), 4, np.array([5, 40]))
    assert set(out.tolist()) == {4, 5, 40}


def test_a_mask_depends_on_its_key_alone(wordpiece):
    items = random_items(wordpiece, 64)
    collator = CondenserCollator(wordpiece, max_length=64)
    together = collator(items)
    for n in (0, 13, 63):
        alone = collator([items[n]])
        width = alone["input_ids"].shape[1]
        for name in ("input_ids", "labels"):
            assert torch.equal(alone[name], together[name][2 * n : 2 * n + 2, :width])
    rekeyed = collator([{**one, "keys": [key + 1 for key in one["keys"]]} for one in items])
    assert not torch.equal(rekeyed["labels"], together["labels"])


def test_stored_word_starts_are_used(bert):
    characters = [16, 17, 18, 19] * 3  # twelve Chinese characters, words of two
    pairs = np.array([1, 0] * 6, np.uint8)
    items = [item(n, characters, word_starts=[pairs]) for n in range(40)]
    masked = CondenserCollator(bert, max_length=32)(items)["labels"][:, 1:13] >= 0
    assert torch.equal(masked[:, ::2], masked[:, 1::2])
    single = CondenserCollator(bert, max_length=32)([item(n, characters) for n in range(40)])["labels"][:, 1:13] >= 0
    assert not torch.equal(single[:, ::2], single[:, 1::2])


def test_a_span_begins_with_a_word_wherever_it_was_cut(bert):
    """A span cut inside a stored word must not join the word before it in the batch."""
    inside = item(1, [16, 17], word_starts=[np.array([0, 1], np.uint8)])
    before = [item(n, [5], word_starts=[np.array([1], np.uint8)]) for n in (2, 3)]
    collator = CondenserCollator(bert, max_length=8)
    alone = collator([inside])["labels"][0]
    for one in before:
        assert torch.equal(collator([one, inside])["labels"][1], alone)


def test_a_batch_of_one_token(bert):
    batch = CondenserCollator(bert, max_length=8)([item(0, [5])])
    assert batch["labels"].tolist() == [[-100, 5, -100]]


def test_refusals(bert, word_level):
    with pytest.raises(InputError, match="without tokens"):
        CondenserCollator(bert, max_length=8)([item(0, [])])
    with pytest.raises(InputError, match="at least 3"):
        CondenserCollator(bert, max_length=2)
    with pytest.raises(InputError, match="between 0 and 1"):
        CondenserCollator(bert, max_length=8, mlm_probability=1.0)
    with pytest.raises(InputError, match="no known kind"):
        CondenserCollator(word_level, max_length=8)


def test_a_tokenizer_without_mask_is_refused():
    from transformers import GPT2Tokenizer

    tokenizer = GPT2Tokenizer(vocab={"a": 0, "<|endoftext|>": 1}, merges=[])
    with pytest.raises(InputError, match="no cls_token"):
        CondenserCollator(tokenizer, max_length=8)


def test_preview_shows_whole_words(bert):
    collator = CondenserCollator(bert, max_length=32, mlm_probability=0.5)
    (text,) = preview_masks(bert, collator, [item(2, IDS)])
    plain = text.replace("{", "").replace("}", "").split(" ")
    kept = [word for n, word in enumerate(plain) if word != "->" and (n == 0 or plain[n - 1] != "->")]
    assert "{" in text
    assert [word for word in kept if word != "[MASK]"] == ["hello", "worlds", ",", "retriever"]
