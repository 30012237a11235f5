"""An exported retriever runs in mteb as it is, and gets the figure that we give it."""

from __future__ import annotations

import sys

import pytest
from sentence_transformers import SentenceTransformer

from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.mteb_task import mteb_task
from hf_cocondenser.evaluation.systems import measure_run
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
from hf_cocondenser.retrieval.dense import dense_search


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_mteb_gives_our_figures(make_retriever, write_beir, tmp_path, similarity):
    mteb = pytest.importorskip("mteb", reason="mteb is not installed")
    data = load_retrieval_data(
        write_beir(tmp_path / "tiny", qrels=[("q1", "d1", 2), ("q1", "d2", 1), ("q2", "d6", 1), ("q3", "d2", 1)])
    )
    model = SentenceTransformer(str(make_retriever(similarity=similarity)), device="cpu")
    ours = measure_run(data, dense_search(model, data.queries, data.corpus, 7, precision="float32")).means
    result = mteb.evaluate(model, mteb_task(data), cache=None, show_progress_bar=False)
    scores = result.task_results[0].scores["test"][0]
    assert scores["ndcg_at_10"] == pytest.approx(ours["nDCG@10"], abs=1e-5)
    assert scores["mrr_at_10"] == pytest.approx(ours["MRR@10"], abs=1e-5)


def test_without_mteb_its_name_is_given(monkeypatch, beir_folder):
    for name in [name for name in sys.modules if name.split(".")[0] == "mteb"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(InputError, match=r"pip install 'hf-cocondenser\[mteb\]'"):
        mteb_task(load_retrieval_data(beir_folder))
