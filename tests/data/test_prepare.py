"""Preparing a span folder: what is in it, the same for any number of processes, whole or not at all."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, IterableDataset
from transformers import AutoTokenizer, BertTokenizer

import hf_cocondenser
from hf_cocondenser.data import (
    SpanDataset,
    SpanOptions,
    load_tokenizer,
    prepare_spans,
    tokenizer_hash,
    train_wordpiece,
)
from hf_cocondenser.data.store import SpanStore
from hf_cocondenser.errors import InputError
from tests.data.conftest import WORDS, sentences
from tests.launch import kill_when


def documents(*passages: list[str]) -> Dataset:
    return Dataset.from_list([{"_id": f"d{n}", "title": "", "passages": texts} for n, texts in enumerate(passages)])


def test_the_folder(spans_folder, wordpiece):
    assert sorted(path.name for path in spans_folder.iterdir()) == [
        "files.json",
        "manifest.json",
        "spans.arrow",
        "tokenizer",
    ]
    manifest = json.loads((spans_folder / "manifest.json").read_text())
    rows = Dataset.from_file(str(spans_folder / "spans.arrow"))
    assert rows.column_names == ["_id", "id_hash", "tokens", "span_ends"]
    assert manifest["counts"] == {
        "documents": 600,
        "empty_documents": 0,
        "one_span_documents": 0,
        "spans": sum(map(len, rows["span_ends"])),
        "tokens": sum(map(len, rows["tokens"])),
        "pairs_per_epoch": manifest["counts"]["pairs_per_epoch"],
    }
    assert manifest["evaluation"]["documents"] > 0
    assert manifest["counts"]["pairs_per_epoch"] == len(SpanDataset(spans_folder, pairs=True, max_length=26)) > 450
    assert manifest["recipe"]["target_tokens"] == 24
    assert sum(manifest["span_tokens"].values()) == manifest["counts"]["spans"]
    assert sum(manifest["document_tokens"].values()) == 600
    leak = manifest["length_leak"]
    assert leak["accuracy"] < leak["chance"] + 4.5 * (leak["chance"] / 1000) ** 0.5
    loaded = load_tokenizer(spans_folder)
    assert manifest["tokenizer"] == {
        "name": "",
        "hash": tokenizer_hash(loaded),
        "family": "wordpiece",
        "vocab_size": len(wordpiece),
    }


def test_tokens_are_the_tokenizers(tmp_path, wordpiece, uneven_documents):
    some = uneven_documents.select(range(50))
    prepare_spans(some, wordpiece, tmp_path / "spans")
    store = SpanStore(tmp_path / "spans")
    for row, document in enumerate(some):
        expected = wordpiece(" ".join(document["passages"]), add_special_tokens=False)["input_ids"]
        assert store.tokens(row, 0, store.token_counts[row]).tolist() == expected
        assert store.id(row) == document["_id"]


def test_processes_and_streaming_give_the_same_bytes(tmp_path, wordpiece, uneven_documents):
    options = SpanOptions(target_tokens=30, short_share=0.3)
    manifests = [
        prepare_spans(uneven_documents, wordpiece, tmp_path / "one", options),
        prepare_spans(uneven_documents, wordpiece, tmp_path / "two", options, num_proc=2),
        prepare_spans(uneven_documents.to_iterable_dataset(), wordpiece, tmp_path / "stream", options),
    ]
    assert manifests[0] == manifests[1] == manifests[2]
    files = [(tmp_path / name / "spans.arrow").read_bytes() for name in ("one", "two", "stream")]
    assert files[0] == files[1] == files[2]


def test_the_seed_changes_the_cuts(tmp_path, wordpiece, uneven_documents):
    ends = []
    for seed in (0, 1):
        prepare_spans(uneven_documents, wordpiece, tmp_path / str(seed), SpanOptions(short_share=0.5, seed=seed))
        store = SpanStore(tmp_path / str(seed))
        ends.append([store.span_ends(row).tolist() for row in range(len(store))])
    assert ends[0] != ends[1]


def test_empty_and_one_span_documents_are_counted(tmp_path, wordpiece, caplog):
    rows = documents([""], ["One sentence."], [], ["Time is money. Work is life."], ["  \n "])
    manifest = prepare_spans(rows, wordpiece, tmp_path / "spans", SpanOptions(min_tokens=2))
    assert manifest["counts"]["documents"] == 2
    assert manifest["counts"]["empty_documents"] == 3
    assert manifest["counts"]["one_span_documents"] == 1
    assert len(SpanDataset(tmp_path / "spans", pairs=False)) == 2


def test_documents_of_one_span_only(tmp_path, wordpiece, caplog):
    manifest = prepare_spans(documents(["One sentence."], ["house"]), wordpiece, tmp_path / "spans")
    assert manifest["counts"]["one_span_documents"] == 2
    assert manifest["counts"]["pairs_per_epoch"] == 0 and manifest["length_leak"] is None
    assert "None of the 2 documents has two spans" in caplog.text


def test_evaluation_documents_by_share_and_number(tmp_path, wordpiece, uneven_documents):
    by_number = prepare_spans(uneven_documents, wordpiece, tmp_path / "number", SpanOptions(evaluation=25))
    assert by_number["evaluation"]["documents"] == 25
    half = uneven_documents.select(range(0, 600, 2))
    prepare_spans(uneven_documents, wordpiece, tmp_path / "all", SpanOptions(evaluation=0.2))
    prepare_spans(half, wordpiece, tmp_path / "half", SpanOptions(evaluation=0.2))
    by_id = []
    for name in ("all", "half"):
        store = SpanStore(tmp_path / name)
        by_id.append({store.id(row): store.span_ends(row).tolist() for row in range(len(store))})
    assert all(by_id[0][id] == ends for id, ends in by_id[1].items())  # nor do its cuts change
    held_out = []
    for name in ("all", "half"):
        store = SpanStore(tmp_path / name)
        spans = SpanDataset(tmp_path / name, pairs=False, split="evaluation")
        held_out.append({store.id(spans[n]["document_id"]) for n in range(len(spans))})
    assert held_out[1] == held_out[0] & set(half["_id"])  # a document stays held out whatever is around it
    with pytest.raises(InputError, match="leave none of the 600 for training"):
        prepare_spans(uneven_documents, wordpiece, tmp_path / "most", SpanOptions(evaluation=600))


def test_chinese_words_are_stored(tmp_path, bert):
    pytest.importorskip("jieba")
    rows = documents(["中国人民hellos。中国人"], ["hello"])
    prepare_spans(rows, bert, tmp_path / "spans", SpanOptions(segmenter="jieba", min_tokens=1))
    spans = SpanDataset(tmp_path / "spans", pairs=False)
    assert [one["word_starts"][0].tolist() for one in spans.__getitems__([0, 1])] == [
        [1, 0, 1, 0, 1, 0, 1, 1, 0, 1],
        [1],
    ]
    pair = SpanDataset(tmp_path / "spans", pairs=True, target_tokens=4)[0]
    assert [len(starts) for starts in pair["word_starts"]] == [len(span) for span in pair["spans"]]


def test_chinese_without_words_and_unknown_text_are_noticed(tmp_path, bert, caplog):
    prepare_spans(documents(["中国人民。中国人。"] * 3), bert, tmp_path / "chinese")
    assert "--segmenter jieba" in caplog.text
    prepare_spans(documents(["xyz zyx hello. wvu uvw."]), bert, tmp_path / "unknown")
    assert "does not know" in caplog.text


def test_refusals(tmp_path, wordpiece, word_level, roberta, uneven_documents):
    out = tmp_path / "spans"
    with pytest.raises(InputError, match=r"no text in the 2 documents of 'corpus\.jsonl'"):
        prepare_spans(documents([""], []), wordpiece, out, source="corpus.jsonl")
    with pytest.raises(InputError, match="no text in the 0 documents"):
        prepare_spans(IterableDataset.from_generator(lambda: iter(())), wordpiece, out)
    twice = Dataset.from_list([{"_id": "x", "title": "", "passages": ["a"]}] * 2)
    with pytest.raises(InputError, match="1 document ids come more than once, for instance 'x'"):
        prepare_spans(twice, wordpiece, out)
    with pytest.raises(InputError, match="no known kind"):
        prepare_spans(uneven_documents, word_level, out)
    with pytest.raises(InputError, match="jieba is for tokenizers of single Chinese characters"):
        prepare_spans(uneven_documents, roberta, out, SpanOptions(segmenter="jieba"))
    assert list(tmp_path.iterdir()) == []  # nothing is left of any of these
    out.mkdir()
    (out / "something").write_text("kept")
    with pytest.raises(InputError, match="already exists and is not empty"):
        prepare_spans(uneven_documents, wordpiece, out)
    assert (out / "something").read_text() == "kept"
    prepare_spans(uneven_documents, wordpiece, out, overwrite=True)
    assert not (out / "something").exists() and (out / "manifest.json").exists()


def test_an_interrupt_leaves_nothing(tmp_path, wordpiece):
    def interrupted():
        for number in range(2000):
            if number == 1500:
                raise KeyboardInterrupt
            yield {"_id": str(number), "title": "", "passages": ["Time is money."]}

    with pytest.raises(KeyboardInterrupt):
        prepare_spans(IterableDataset.from_generator(interrupted), wordpiece, tmp_path / "spans")
    assert list(tmp_path.iterdir()) == []


_ENDLESS = """
import itertools, sys
from datasets import IterableDataset
from hf_cocondenser.data import load_tokenizer, prepare_spans
rows = lambda: ({"_id": str(n), "title": "", "passages": ["Time is money."]} for n in itertools.count())
prepare_spans(IterableDataset.from_generator(rows), load_tokenizer(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.slow
def test_a_killed_process_leaves_no_span_folder(tmp_path, spans_folder):
    out = tmp_path / "out" / "spans"
    process = subprocess.Popen(
        [sys.executable, "-c", _ENDLESS, str(spans_folder), str(out)], stderr=subprocess.DEVNULL, env=dict(os.environ)
    )
    kill_when(
        process, lambda: any(p.stat().st_size >= 50_000 for p in out.parent.glob(".spans.partial-*/spans.arrow"))
    )
    assert not out.exists()


def test_a_trained_tokenizer(tmp_path, spans_folder):
    tokenizer = train_wordpiece((sentences(n, 10) for n in range(50)), 200)
    assert isinstance(tokenizer, BertTokenizer) and len(tokenizer) <= 200
    assert tokenizer.tokenize("Time, YEAR!") == ["t", "##i", "##me", "[UNK]", "year", "[UNK]"]
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(loaded, BertTokenizer)
    text = " ".join(random.Random(0).choices(WORDS, k=50)).title()
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert loaded(text)["input_ids"][0] == loaded.cls_token_id
    assert tokenizer_hash(loaded) == tokenizer_hash(tokenizer) != tokenizer_hash(load_tokenizer(spans_folder))
    loaded.model_max_length = 7
    loaded("a b c d e f g h", truncation=True, max_length=4)
    assert tokenizer_hash(loaded) == tokenizer_hash(tokenizer)  # lengths are no part of what it is


@pytest.mark.slow
def test_a_tokenizer_is_a_function_of_its_texts():
    """In another process, whose hash tables are in another order; a corpus with many ties."""
    code = (
        "import random; from hf_cocondenser.data.tokenizer import train_wordpiece, tokenizer_hash\n"
        "r = random.Random(0); word = lambda: ''.join(r.choices('abcdefghijklmnopqrstuvwxyz', k=r.randint(3, 9)))\n"
        "words = [word() for _ in range(2000)]; texts = [' '.join(r.choices(words, k=50)) for _ in range(200)]\n"
        "print(tokenizer_hash(train_wordpiece(iter(texts), 600)), tokenizer_hash(train_wordpiece(texts, 600)))"
    )
    run = [sys.executable, "-c", code]
    printed = {
        subprocess.run(run, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]).stdout
        for _ in range(2)
    }
    assert len(printed) == 1 and len(set(printed.pop().split())) == 1


def test_tokenizers_that_are_refused(tmp_path):
    with pytest.raises(InputError, match="at least 100"):
        train_wordpiece(["a b c"], 50)
    with pytest.raises(InputError, match="no words"):
        train_wordpiece([], 200)
    with pytest.raises(InputError, match=r"The tokenizer of .* cannot be loaded"):
        load_tokenizer(tmp_path)


def test_large_vocabularies_need_wider_tokens(tmp_path):
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(70_000))]
    tokenizer = BertTokenizer(vocab={name: index for index, name in enumerate(names)})
    prepare_spans(documents(["w69999 w1. W2 w3."]), tokenizer, tmp_path / "spans")
    store = SpanStore(tmp_path / "spans")
    assert store.tokens(0, 0, 2).tolist() == [70_004, 6]
    assert store.tokens(0, 0, 1).dtype == np.int32


def test_added_phrases_and_special_tokens_stay_whole(tmp_path):
    """As fine-tuning and search keep them; what stands for no text is text in a document."""
    text = "We baked an Apple pie for [ENT] anna [ENT] and wrote [SEP] on it. Then we went home and slept until noon. "
    tokenizer = train_wordpiece([text] * 3, 200, min_frequency=1)
    tokenizer.add_tokens(["apple pie"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["[ENT]"]})
    documents = hf_cocondenser.load_documents(Dataset.from_dict({"_id": ["a", "b"], "text": [text * 4] * 2}))
    prepare_spans(documents, tokenizer, tmp_path / "spans")
    found = tokenizer.convert_ids_to_tokens(SpanDataset(tmp_path / "spans", pairs=False)[0]["spans"][0])
    expected = tokenizer.tokenize(text)
    assert "apple pie" in found and found.count("[ENT]") >= 2 and "[SEP]" not in found
    start = expected.index("[SEP]")
    assert found[:start] == expected[:start]
