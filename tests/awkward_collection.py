"""Fixtures of search and evaluation: a small, awkward BEIR folder and a tiny retriever, both made here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

CORPUS = {
    "d1": ("Whales", "Whales are large sea mammals that sing and dive."),
    "d2": ("", "Dolphins are small whales which hunt fish in groups."),
    "d3": ("Volcano", "A volcano is a rupture in the crust of a planet."),
    "d4": ("Empty", ""),
    "d5": ("", ""),
    "d6": ("Bread", "Bread is baked from a dough of flour and water, usually with yeast."),
    "d7": ("Flour", "Flour is made by grinding grain; bread and cakes need it."),
}
QUERIES = {
    "q1": "which whales sing",
    "q2": "what is bread made of",
    "q3": "eruption of a volcano",
    "q4": "xylophone",
    "q9": "never judged",
}
QRELS = [
    ("q1", "d1", 2),
    ("q1", "d2", 1),
    ("q1", "d3", 0),
    ("q2", "d6", 1),
    ("q2", "d7", 1),
    ("q3", "d3", 1),
    ("q4", "d5", 1),
]


def write_beir(folder: Path, corpus=None, queries=None, qrels=None, line_end: str = "\n", split: str = "test") -> Path:
    """Write a BEIR folder; corpus values are (title, text)."""
    corpus = CORPUS if corpus is None else corpus
    queries = QUERIES if queries is None else queries
    qrels = QRELS if qrels is None else qrels
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    documents = corpus.items() if isinstance(corpus, dict) else corpus
    (folder / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": i, "title": title, "text": text}) + "\n" for i, (title, text) in documents)
    )
    pairs = queries.items() if isinstance(queries, dict) else queries
    (folder / "queries.jsonl").write_text("".join(json.dumps({"_id": i, "text": text}) + "\n" for i, text in pairs))
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in qrels)]
    (folder / "qrels" / f"{split}.tsv").write_bytes("".join(line + line_end for line in lines).encode())
    return folder


@pytest.fixture(scope="session", name="write_beir")
def write_beir_fixture() -> Callable[..., Path]:
    """The function that writes BEIR folders."""
    return write_beir


@pytest.fixture(scope="session")
def corpus() -> dict[str, tuple[str, str]]:
    """Document id -> (title, text) of the tiny corpus."""
    return CORPUS


@pytest.fixture
def beir_folder(tmp_path: Path) -> Path:
    return write_beir(tmp_path / "tiny")


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WordPiece tokenizer trained on the tiny corpus."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    texts = [" ".join(pair) for pair in CORPUS.values()] + list(QUERIES.values())
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    folder = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_retriever(tokenizer_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a tiny random BERT retriever: `make_retriever(pooling=..., similarity=..., dense=..., normalize=...)`."""

    def make(
        *,
        pooling: str = "cls",
        similarity: str = "dot",
        dense: int | None = None,
        normalize: bool = False,
        prompts: dict[str, str] | None = None,
        max_seq_length: int = 32,
        seed: int = 0,
    ) -> Path:
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=300,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            initializer_range=0.3,  # far apart vectors, so that rankings are not ties
        )
        folder = tmp_path_factory.mktemp("backbone")
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
        PreTrainedTokenizerFast.from_pretrained(tokenizer_file).save_pretrained(folder)
        transformer = Transformer(str(folder), model_kwargs={"add_pooling_layer": False})
        transformer.max_seq_length = max_seq_length
        modules = [transformer, Pooling(32, pooling)]
        if dense:
            modules.append(Dense(32, dense, activation_function=None))
        if normalize:
            modules.append(Normalize())
        model = SentenceTransformer(
            modules=modules,
            similarity_fn_name=similarity,
            prompts=prompts or {"query": "", "document": ""},
            device="cpu",
        )
        target = tmp_path_factory.mktemp("retriever")
        model.save_pretrained(str(target))
        return target

    return make


@pytest.fixture(scope="session")
def retriever(make_retriever: Callable[..., Path]) -> Path:
    """The plain case: CLS, dot."""
    return make_retriever()
