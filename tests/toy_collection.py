"""A tiny encoder checkpoint and a tiny judged collection."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, BertTokenizerFast

WORDS = [f"w{i}" for i in range(200)]


def toy_tokenizer() -> BertTokenizerFast:
    """Words of the collection are its tokens."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {token: i for i, token in enumerate([*specials, *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=64)


def write_backbone(folder: Path, seed: int = 0) -> Path:
    """A plain BERT checkpoint, two layers of width 32."""
    torch.manual_seed(seed)
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
    toy_tokenizer().save_pretrained(folder)
    return folder


def write_collection(folder: Path) -> Path:
    """120 documents on 24 topics of their own words; a query is words of its topic; dev and test judgements beside train."""
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
