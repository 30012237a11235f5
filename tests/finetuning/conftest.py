"""A tiny retriever and a tiny judged collection."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, BertTokenizerFast

WORDS = [f"w{i}" for i in range(200)]


def _tokenizer() -> BertTokenizerFast:
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {token: i for i, token in enumerate([*specials, *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=64)


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain BERT checkpoint, two layers of width 32."""
    folder = tmp_path_factory.mktemp("backbone")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS) + 5,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_retriever(backbone_folder: Path) -> Callable:
    """Builds a fresh retriever from the backbone: CLS pooling, `dot` unless told otherwise."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    def build(similarity: str = "dot") -> SentenceTransformer:
        transformer = Transformer(str(backbone_folder), model_kwargs={"add_pooling_layer": False})
        pooling = Pooling(transformer.get_embedding_dimension(), "cls")
        return SentenceTransformer(modules=[transformer, pooling], similarity_fn_name=similarity, device="cpu")

    return build


@pytest.fixture(scope="session")
def beir_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 documents on 24 topics of their own words; a query is words of its topic; dev and test judgements beside train."""
    folder = tmp_path_factory.mktemp("collection")
    rng = np.random.default_rng(0)
    documents, queries, judged = [], [], []
    for topic in range(24):
        vocabulary = WORDS[topic * 8 : topic * 8 + 8]
        for number in range(5):
            words = [*rng.choice(vocabulary, 6), *rng.choice(WORDS, 6)]
            documents.append({"_id": f"d{topic}-{number}", "title": "", "text": " ".join(words)})
        for number in range(4):
            queries.append({"_id": f"q{topic}-{number}", "text": " ".join(rng.choice(vocabulary, 3))})
            judged.append((f"q{topic}-{number}", f"d{topic}-{number}", 1))
            if number == 0:
                judged.append((f"q{topic}-0", f"d{topic}-4", 2))
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "qrels").mkdir()
    splits = {"train": range(0, 16), "dev": range(16, 20), "test": range(20, 24)}
    for split, topics in splits.items():
        lines = [
            f"{query}\t{document}\t{score}\n"
            for query, document, score in judged
            if int(query[1:].split("-")[0]) in topics
        ]
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return folder


@pytest.fixture(scope="session")
def t5_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain T5 encoder checkpoint, two layers of width 32, with the tokenizer of the tiny BERT."""
    from transformers import T5EncoderModel

    from hf_cocondenser.finetuning.fresh_t5 import fresh_t5_config

    folder = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    T5EncoderModel(fresh_t5_config("t5:2x32", len(WORDS) + 5)).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder
