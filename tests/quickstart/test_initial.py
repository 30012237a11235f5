"""The untrained model already tells texts apart; BERT's usual random weights hardly do."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn.functional import normalize
from transformers import BertConfig, BertModel, set_seed

from hf_cocondenser.data.tokenizer import train_wordpiece
from hf_cocondenser.modeling_condenser import CondenserForPreTraining
from hf_cocondenser.quickstart.docstrings import Docstring
from hf_cocondenser.quickstart.initial import save_initial_checkpoint, start_as_bag_of_words
from hf_cocondenser.quickstart.recipe import FROM_SCRATCH


def likeness(model: BertModel, ids: torch.Tensor) -> float:
    """The mean cosine of the CLS vectors of different texts."""
    model.eval()
    with torch.no_grad():
        vectors = normalize(model(ids).last_hidden_state[:, 0], dim=1)
    cosines = vectors @ vectors.T
    return float((cosines.sum() - len(ids)) / (len(ids) * (len(ids) - 1)))


def test_it_begins_as_a_retriever_of_words(numpy_docstrings: list[Docstring]) -> None:
    texts = ["\n".join(d.paragraphs) for d in numpy_docstrings]
    tokenizer = train_wordpiece(texts, 3000)
    rows = [ids[:40] for ids in tokenizer(texts, add_special_tokens=False)["input_ids"] if len(ids) >= 40][:128]
    ids = torch.tensor([[tokenizer.cls_token_id, *row, tokenizer.sep_token_id] for row in rows])
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=256, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512
    )
    set_seed(1)
    usual = BertModel(config)
    set_seed(1)
    ours = BertModel(config)
    start_as_bag_of_words(ours, [tokenizer.cls_token_id, tokenizer.sep_token_id])
    assert likeness(usual, ids) > 0.95
    assert likeness(ours, ids) < 0.75
    # A mean of word vectors: the order of the words counts for little.
    ours.eval()
    with torch.no_grad():
        there, back = (ours(rows).last_hidden_state[:, 0] for rows in (ids, ids[:, [0, *range(40, 0, -1), 41]]))
    assert torch.cosine_similarity(there, back).min() > 0.99


def test_initial_checkpoint_is_a_pretraining_checkpoint(tmp_path: Path, numpy_docstrings: list[Docstring]) -> None:
    tokenizer = train_wordpiece((d.summary for d in numpy_docstrings), 500)
    for name in ("one", "two"):
        save_initial_checkpoint(tmp_path / name, tokenizer, FROM_SCRATCH, seed=4)
    models = [CondenserForPreTraining.from_pretrained(tmp_path / name) for name in ("one", "two")]
    assert models[0].config.vocab_size == len(tokenizer)
    states = [model.state_dict() for model in models]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert states[0].keys() == states[1].keys()
