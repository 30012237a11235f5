"""A tiny retriever and a tiny judged collection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.toy_collection import WORDS, toy_tokenizer, write_backbone, write_collection


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain BERT checkpoint, two layers of width 32."""
    return write_backbone(tmp_path_factory.mktemp("backbone"))


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
    """120 documents on 24 topics of their own words, with train, dev and test judgements."""
    return write_collection(tmp_path_factory.mktemp("collection"))


@pytest.fixture(scope="session")
def t5_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain T5 encoder checkpoint, two layers of width 32, with the tokenizer of the tiny BERT."""
    from transformers import T5EncoderModel

    from hf_cocondenser.finetuning.fresh_t5 import fresh_t5_config

    folder = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    T5EncoderModel(fresh_t5_config("t5:2x32", len(WORDS) + 5)).save_pretrained(folder)
    toy_tokenizer().save_pretrained(folder)
    return folder
