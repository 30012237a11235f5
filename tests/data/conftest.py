"""Tokenizers of every family with vocabularies written by hand, and a corpus of documents of very different sizes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BertTokenizer,
    DebertaV2Tokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

from hf_cocondenser.data.cutting import SpanOptions
from hf_cocondenser.data.prepare import prepare_spans
from hf_cocondenser.data.tokenizer import train_wordpiece

_WORD_LIST = """
time person year way day thing man world life hand part child eye woman place work week case point company
number group problem fact money water month lot right study book job word business issue side kind head house service
friend father power hour game line end member law car city community name president team minute idea body information
retrieval condenser pretraining encoder representation unsupervised contrastive tokenization
"""
WORDS = _WORD_LIST.split()

_BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def sentences(seed: int, number: int) -> str:
    """Text of so many made-up sentences."""
    rng = random.Random(seed)
    made = [" ".join(rng.choices(WORDS, k=rng.randint(4, 14))) for _ in range(number)]
    return " ".join(sentence.capitalize() + "." for sentence in made)


@pytest.fixture(scope="session")
def bert() -> PreTrainedTokenizerBase:
    pieces = [
        "hello",
        "wor",
        "##ld",
        "##s",
        ",",
        "!",
        "'",
        "don",
        "t",
        "retrieve",
        "##r",
        "中",
        "国",
        "人",
        "民",
        "。",
    ]
    return BertTokenizer(vocab={token: index for index, token in enumerate(_BERT + pieces)})


@pytest.fixture(scope="session")
def roberta() -> PreTrainedTokenizerBase:
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = [("Ġ", "w"), ("o", "r"), ("l", "d"), ("h", "i"), ("Ġ", "hi"), ("Ġw", "or"), ("ä", "¸"), ("ä¸", "Ń")]
    tokens += ["".join(pair) for pair in merges]
    return RobertaTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=merges)


_PIECE_LIST = "▁ ▁hello ▁wor ld s , ! ' t ▁don 中国 人民 中 国 人 民 。 ▁retrieve r a b c d e f g h i l n o p"
_PIECES = _PIECE_LIST.split()


@pytest.fixture(scope="session")
def xlm_roberta() -> PreTrainedTokenizerBase:
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    scores = [(piece, -1.0 - index / 10) for index, piece in enumerate(_PIECES)]
    return XLMRobertaTokenizer(vocab=[*special, *scores, ("<mask>", 0.0)])


@pytest.fixture(scope="session")
def deberta() -> PreTrainedTokenizerBase:
    special = [("[PAD]", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[UNK]", 0.0)]
    scores = [(piece, -1.0 - index / 10) for index, piece in enumerate(_PIECES)]
    return DebertaV2Tokenizer(vocab=[*special, *scores, ("[MASK]", 0.0)])


@pytest.fixture(scope="session")
def word_level() -> PreTrainedTokenizerBase:
    """A tokenizer of whole words: of no family that masks can be made for."""
    backend = Tokenizer(models.WordLevel({token: index for index, token in enumerate([*_BERT, "hello"])}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.decoder = decoders.Fuse()
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]", "pad_token": "[PAD]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", **names)


@pytest.fixture(scope="session")
def wordpiece() -> PreTrainedTokenizerBase:
    """Trained on the made-up corpus, with a vocabulary small enough that long words are cut."""
    return train_wordpiece((sentences(seed, 20) for seed in range(100)), 150)


@pytest.fixture(scope="session")
def uneven_documents() -> Dataset:
    """Documents of 2 to 60 sentences, so of very different sizes."""
    rng = random.Random(0)
    rows = []
    for number in range(600):
        length = rng.choice([2, 3, 4, 6, 10, 30, 60])
        rows.append({"_id": f"d{number}", "title": "", "passages": [sentences(number, length)]})
    return Dataset.from_list(rows)


@pytest.fixture(scope="session")
def spans_folder(
    uneven_documents: Dataset, wordpiece: PreTrainedTokenizerBase, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The uneven documents as spans of up to 24 tokens, all lengths equally likely."""
    folder = tmp_path_factory.mktemp("prepared") / "spans"
    options = SpanOptions(target_tokens=24, min_tokens=4, short_share=1.0, evaluation=0.1)
    prepare_spans(uneven_documents, wordpiece, folder, options)
    return folder


@pytest.fixture
def prepare_texts(wordpiece: PreTrainedTokenizerBase, tmp_path: Path) -> Callable[..., tuple[Path, dict]]:
    """Prepares documents given as lists of passages; returns folder and manifest."""

    def prepare(passages: list[list[str]], **options: object) -> tuple[Path, dict]:
        rows = [{"_id": str(n), "title": "", "passages": texts} for n, texts in enumerate(passages)]
        folder = tmp_path / "spans"
        return folder, prepare_spans(
            Dataset.from_list(rows), wordpiece, folder, SpanOptions(**options), overwrite=True
        )

    return prepare
