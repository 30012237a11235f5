"""Items of a span folder: pure functions of (seed, epoch, index), in any worker."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hf_cocondenser.data.collator import CondenserCollator
from hf_cocondenser.data.dataset import SpanDataset
from hf_cocondenser.data.lengths import length_leak
from hf_cocondenser.data.store import SpanStore
from hf_cocondenser.errors import InputError


def same_items(left: list[dict], right: list[dict]) -> bool:
    return len(left) == len(right) and all(
        a["document_id"] == b["document_id"]
        and a["keys"] == b["keys"]
        and all(np.array_equal(x, y) for x, y in zip(a["spans"], b["spans"], strict=True))
        for a, b in zip(left, right, strict=True)
    )


def batches(
    folder, tokenizer, pairs: bool, epoch: int = 0, workers: int = 0, skip: int = 0, context=None
) -> list[dict]:
    spans = SpanDataset(folder, pairs=pairs, seed=5, max_length=32)
    spans.set_epoch(epoch)
    order = torch.randperm(len(spans), generator=torch.Generator().manual_seed(epoch)).tolist()[skip * 32 :]
    loader = DataLoader(
        spans,
        batch_size=32,
        sampler=order,
        num_workers=workers,
        multiprocessing_context=context,
        collate_fn=CondenserCollator(tokenizer, max_length=32),
    )
    return list(loader)


def equal(left: list[dict], right: list[dict]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a[name], b[name]) for a, b in zip(left, right, strict=True) for name in a
    )


@pytest.mark.parametrize("pairs", [True, False])
def test_items_are_functions_of_seed_epoch_and_index(spans_folder, pairs):
    def draw(seed: int, epoch: int, indices: list[int]) -> list[dict]:
        spans = SpanDataset(spans_folder, pairs=pairs, seed=seed, max_length=32)
        spans.set_epoch(epoch)
        return spans.__getitems__(indices)

    some = [3, 100, 7, 3]
    assert same_items(draw(1, 2, some), draw(1, 2, some))
    assert same_items(draw(1, 2, some)[1:2], draw(1, 2, [100]))
    everything = list(range(300))
    assert not same_items(draw(1, 2, everything), draw(1, 3, everything))
    assert not same_items(draw(1, 2, everything), draw(2, 2, everything))
    epochs = [{key for item in draw(1, epoch, everything) for key in item["keys"]} for epoch in (2, 3)]
    assert not epochs[0] & epochs[1]


def test_single_items_equal_several(spans_folder):
    spans = SpanDataset(spans_folder, pairs=True, seed=0, max_length=32)
    assert same_items([spans[n] for n in (5, 0, 9)], spans.__getitems__([5, 0, 9]))


def test_pairs_are_two_apart_spans_of_one_document(spans_folder):
    spans = SpanDataset(spans_folder, pairs=True, seed=0, max_length=32)
    store = SpanStore(spans_folder)
    indices = np.arange(len(spans))
    documents, starts, lengths = spans.draw_pairs(indices)
    ends = starts + lengths
    assert (starts >= 0).all() and (ends <= store.token_counts[documents][:, None]).all()
    assert ((ends[:, 0] <= starts[:, 1]) | (ends[:, 1] <= starts[:, 0])).all()
    assert len(np.unique(documents)) == len(documents)
    for item, document, start, end in zip(spans.__getitems__(indices.tolist()), documents, starts, ends, strict=True):
        assert item["document_id"] == document
        for span, a, b in zip(item["spans"], start, end, strict=True):
            assert np.array_equal(span, store.tokens(document, a, b))


def test_lengths_of_drawn_pairs_give_nothing_away(spans_folder):
    leaks = []
    for epoch in range(8):
        spans = SpanDataset(spans_folder, pairs=True, seed=0, max_length=32)
        spans.set_epoch(epoch)
        items = spans.__getitems__(list(range(len(spans))))
        leaks.append(length_leak(np.array([[len(span) for span in item["spans"]] for item in items])))
    n = 8 * len(spans)
    chance = leaks[0]["chance"]
    assert abs(np.mean([leak["accuracy"] for leak in leaks]) - chance) < 4.5 * (chance / (2 * n)) ** 0.5
    assert abs(np.mean([leak["correlation"] for leak in leaks])) < 4.5 / n**0.5


def test_the_condenser_stage_covers_every_token_each_epoch(spans_folder):
    store = SpanStore(spans_folder)
    cuts = []
    for epoch in (0, 1):
        spans = SpanDataset(spans_folder, pairs=False, seed=0, max_length=32, split="all")
        spans.set_epoch(epoch)
        items = spans.__getitems__(list(range(len(spans))))
        assert max(len(item["spans"][0]) for item in items) <= 30
        found: dict[int, list[np.ndarray]] = {}
        for item in items:
            found.setdefault(item["document_id"], []).append(item["spans"][0])
        for document in range(len(store)):
            whole = store.tokens(document, 0, store.token_counts[document])
            assert np.array_equal(np.concatenate(found[document]), whole)
        cuts.append([len(item["spans"][0]) for item in items])
    assert cuts[0] != cuts[1]
    keys = [key for item in items for key in item["keys"]]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("pairs", [True, False])
def test_workers_and_resume_do_not_change_batches(spans_folder, wordpiece, pairs):
    alone = batches(spans_folder, wordpiece, pairs, epoch=1)
    assert equal(alone, batches(spans_folder, wordpiece, pairs, epoch=1, workers=2))
    assert equal(alone[3:], batches(spans_folder, wordpiece, pairs, epoch=1, skip=3))
    assert not equal(alone, batches(spans_folder, wordpiece, pairs, epoch=2))


def test_pickled_for_spawned_workers(spans_folder):
    spans = SpanDataset(spans_folder, pairs=True, seed=0, max_length=32)
    spans.set_epoch(4)
    data = pickle.dumps(spans)
    assert len(data) < 100_000  # the tokens stay in the file
    assert same_items(pickle.loads(data).__getitems__([1, 2]), spans.__getitems__([1, 2]))


def test_held_out_documents(spans_folder):
    def documents(split: str, pairs: bool = False) -> set[int]:
        spans = SpanDataset(spans_folder, pairs=pairs, max_length=32, split=split)
        return {item["document_id"] for item in spans.__getitems__(list(range(len(spans))))}

    train, held_out, every = documents("train"), documents("evaluation"), documents("all")
    assert not train & held_out and train | held_out == every
    assert 30 < len(held_out) < 95  # a tenth of 600
    assert documents("evaluation", pairs=True) <= held_out
    assert len(held_out) == SpanDataset(spans_folder, pairs=False).manifest["evaluation"]["documents"]


def test_other_lengths_than_the_recipe(spans_folder):
    spans = SpanDataset(spans_folder, pairs=True, max_length=64, target_tokens=40, min_tokens=10, short_share=0.0)
    assert {len(span) for item in spans.__getitems__(list(range(len(spans)))) for span in item["spans"]} == {40}
    capped = SpanDataset(spans_folder, pairs=True, max_length=12)
    assert max(len(s) for item in capped.__getitems__(list(range(len(capped)))) for s in item["spans"]) == 10


def test_refusals(spans_folder, tmp_path, prepare_texts):
    with pytest.raises(InputError, match="not a span folder"):
        SpanDataset(tmp_path, pairs=True)
    with pytest.raises(InputError, match="choose one of train, evaluation, all"):
        SpanDataset(spans_folder, pairs=True, split="test")
    with pytest.raises(InputError, match="cannot be drawn"):
        SpanDataset(spans_folder, pairs=True, max_length=2)
    with pytest.raises(InputError, match="with target_tokens="):
        SpanDataset(spans_folder, pairs=True, max_length=3000, target_tokens=2000, short_share=0.0)
    folder, _ = prepare_texts([["One sentence only."], ["Another one."]])
    with pytest.raises(InputError, match="None of the 2 documents has two spans"):
        SpanDataset(folder, pairs=True)
    with pytest.raises(InputError, match="no documents in the split 'evaluation'"):
        SpanDataset(folder, pairs=False, split="evaluation")
    assert len(SpanDataset(folder, pairs=False)) == 2


def test_a_damaged_folder(spans_folder, tmp_path):
    (tmp_path / "manifest.json").write_text((spans_folder / "manifest.json").read_text())
    (tmp_path / "spans.arrow").write_bytes((spans_folder / "spans.arrow").read_bytes()[:3000])
    with pytest.raises(InputError, match="cannot be read"):
        SpanDataset(tmp_path, pairs=True)
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(InputError, match="format"):
        SpanDataset(tmp_path, pairs=True)


def test_a_batch_of_one_document(prepare_texts, wordpiece):
    folder, _ = prepare_texts([["Time is money and work is life. The book of the house is here now."]], min_tokens=2)
    spans = SpanDataset(folder, pairs=True, max_length=32, target_tokens=6)
    batch = CondenserCollator(wordpiece, max_length=32)(spans.__getitems__([0]))
    assert len(spans) == 1 and batch["input_ids"].shape[0] == 2
    assert (batch["labels"] >= 0).any(dim=1).all()
