"""Several systems and data sets: measured right, compared in pairs, written whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
import pytrec_eval

from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.answers import has_answer
from hf_cocondenser.evaluation.compare import compare_runs
from hf_cocondenser.evaluation.evaluate import SearchOptions, evaluate_retriever
from hf_cocondenser.evaluation.lengths import document_lengths
from hf_cocondenser.evaluation.systems import evaluate_systems, measure_run
from hf_cocondenser.retrieval.collections.collection import Document, Query, assemble
from hf_cocondenser.retrieval.collections.protocols import DEFAULT, Protocol
from hf_cocondenser.retrieval.fusion import reciprocal_rank_fusion
from hf_cocondenser.retrieval.runs import read_run

WORDS = ["whale", "bread", "stone", "river", "cloud", "song", "wheel", "night"]


def collection(name: str, queries: int = 40, seed: int = 0, protocol: Protocol = DEFAULT):
    rng = np.random.default_rng(seed)
    documents = [Document(f"d{i}", "", " ".join(rng.choice(WORDS, 6 + i % 20))) for i in range(80)]
    asked = [Query(f"q{i}", " ".join(rng.choice(WORDS, 3))) for i in range(queries)]
    judged = [
        (f"q{i}", f"d{d}", int(rng.integers(0, 3))) for i in range(queries) for d in rng.choice(80, 5, replace=False)
    ]
    return assemble(name, "test", documents, asked, judged, protocol)


def noisy_run(data, noise: float, seed: int):
    rng = np.random.default_rng(seed)
    return {
        query: {d: judged.get(d, 0) + noise * float(rng.normal()) for d in data.corpus}
        for query, judged in data.qrels.items()
    }


def test_comparison_of_a_good_and_a_bad_system():
    data = [collection("one"), collection("two", seed=1)]
    runs = {
        d.name: {"bad": noisy_run(d, 3.0, 1), "good": noisy_run(d, 0.3, 2), "same": noisy_run(d, 3.0, 1)} for d in data
    }
    evaluation = evaluate_systems(data, runs, baseline="bad", measures=["nDCG@10", "MRR@10"])
    assert evaluation.systems == ["bad", "good", "same"]
    assert len(evaluation.comparisons) == 2 * 2 * 2
    for comparison in evaluation.comparisons:
        assert comparison.wins + comparison.losses + comparison.ties == 40
        if comparison.system == "same":
            assert (comparison.difference, comparison.p_value, comparison.ties) == (0.0, 1.0, 40)
        else:
            assert comparison.difference > 0.2 and comparison.p_holm < 0.01
            assert comparison.interval[0] > 0
            assert comparison.p_value <= comparison.p_holm <= 2 * comparison.p_value
    trec = pytrec_eval.RelevanceEvaluator(data[0].qrels, {"ndcg_cut.10"}).evaluate(runs["one"]["good"])
    expected = np.mean([values["ndcg_cut_10"] for values in trec.values()])
    assert evaluation.results["one"]["good"].means["nDCG@10"] == pytest.approx(expected)


def test_the_querys_own_document_does_not_count_where_the_protocol_says_so():
    documents = [Document(name, "", name) for name in ("a", "b", "c")]
    parts = (documents, [Query("a", "a")], [("a", "b", 1)])
    run = {"a": {"a": 3.0, "b": 2.0, "c": 1.0}}
    same, other = (assemble("x", "test", *parts, Protocol("p", exclude_same_id=e)) for e in (True, False))
    assert measure_run(same, run, ["MRR@10"]).means["MRR@10"] == 1.0
    assert measure_run(other, run, ["MRR@10"]).means["MRR@10"] == 0.5


@pytest.mark.parametrize(
    ("text", "answer", "found"),
    [
        ("He was born in São Paulo, in 1950.", "Sao Paulo", False),  # DPR decomposes accents but keeps them
        ("He was born in São Paulo, in 1950.", "SÃO PAULO", True),
        ("the cartoonist", "cartoon", False),
        ("in New-York today", "New - York", True),
        ("42", "4", False),
        ("anything", "", False),
    ],
)
def test_has_answer_as_dpr_finds_it(text, answer, found):
    assert has_answer(text, [answer]) is found


def test_answer_in_passage_measure():
    documents = [Document("a", "Lourdes", "a town"), Document("b", "", "in Lourdes, France"), Document("c", "", "no")]
    asked = [Query("q1", "where?", ("Lourdes",)), Query("q2", "who?", ("Nobody",))]
    data = assemble("qa", "test", documents, asked, [("q1", "b", 1), ("q2", "c", 1)])
    run = {"q1": {"a": 2.0, "b": 1.0}, "q2": {"c": 1.0}}
    means = measure_run(data, run, ["Answer@1", "Answer@2", "MRR@10"]).means
    assert means == {"Answer@1": 0.0, "Answer@2": 0.5, "MRR@10": 0.75}  # the title "Lourdes" is no answer
    with pytest.raises(InputError, match="has no answers"):
        measure_run(collection("plain"), {}, ["Answer@1"])


def test_document_lengths():
    documents = [Document("a", "t", "one two"), Document("b", "", "one"), Document("c", "", "北京是")]
    data = assemble("x", "test", documents, [Query("q", "?")], [("q", "b", 1), ("q", "a", 0)])
    groups = {g.group: g for g in document_lengths(data, {"s": {"q": {"a": 2.0, "c": 1.0}}}, depth=1)}
    assert groups["corpus"].mean == pytest.approx(7 / 3)
    assert groups["relevant"].mean == 1 and groups["s"].mean == 3


def test_evaluate_retriever_writes_everything(retriever, write_beir, tmp_path):
    first, second = write_beir(tmp_path / "first"), write_beir(tmp_path / "second", line_end="\r\n")
    evaluation = evaluate_retriever(
        retriever,
        [first, second],
        tmp_path / "out",
        name="tiny",
        options=SearchOptions(hybrid=True, depth=5),
        cache_dir=tmp_path / "cache",
    )
    names = ["BM25 (bm25s lucene k1=0.9 b=0.4, English stemming)", "tiny (dot)", "hybrid (RRF of BM25 and tiny (dot))"]
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["baseline"] == names[0]
    assert list(results["data_sets"]) == ["first", "second"]
    assert list(results["data_sets"]["first"]["systems"]) == names
    assert results["data_sets"]["first"]["counts"]["zero_judgements"] == 1
    assert results["settings"]["similarity"] == "dot" and len(results["settings"]["retriever"]) == 64
    report = str(evaluation)
    assert "Mean of 2 data sets" in report and "p (Holm)" in report
    assert results["data_sets"]["first"]["systems"][names[1]] == {
        "kind": "retriever",
        "means": evaluation.means["first"][names[1]],
        "intervals": {m: list(ends) for m, ends in evaluation.intervals["first"][names[1]].items()},
    }
    assert list(evaluation.kinds.values()) == ["bm25", "retriever", "hybrid"]
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {
        "report.md",
        "report.html",
        "figures/measure.png",
        "figures/wins-first.png",
        "figures/lengths-second.png",
    } <= written
    assert "per_query/second.json" in written and "runs/tiny-dot/first.trec" in written
    run = read_run(tmp_path / "out" / "runs" / "tiny-dot" / "first.trec")
    assert run == evaluation.runs["first"]["tiny (dot)"]
    assert all(len(hits) == 7 for hits in run.values()) and len(run) == 4  # Recall@100 needs more than 5
    per_query = json.loads((tmp_path / "out" / "per_query" / "first.json").read_text())
    assert np.mean([v[names[0]]["nDCG@10"] for v in per_query.values()]) == pytest.approx(
        results["data_sets"]["first"]["systems"][names[0]]["means"]["nDCG@10"]
    )
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 5
    with pytest.raises(InputError, match="already exists"):
        evaluate_retriever(retriever, [first], tmp_path / "out")
    # The run files alone give the same figures.
    again = compare_runs([tmp_path / "out" / "runs" / "tiny-dot"], [first, second], names=["tiny (dot)"])
    rows = [
        [cell.strip() for line in text.splitlines() if line.startswith("| tiny (dot)") for cell in line.split("|")]
        for text in (report.split("## Against")[0], str(again))
    ]
    assert rows[0] == rows[1]


def test_without_bm25_the_retriever_stands_alone(retriever, beir_folder, tmp_path):
    evaluation = evaluate_retriever(retriever, beir_folder, tmp_path / "out", options=SearchOptions(bm25=False))
    assert "BM25" not in str(evaluation) and "Against" not in str(evaluation)
    assert not list((tmp_path / "out" / "figures").glob("wins*"))


def test_refused_before_anything_is_computed(retriever, beir_folder, tmp_path):
    for change, words in (
        ({"measures": ["nDCG@ten"]}, "measure 'nDCG@ten'"),
        ({"measures": []}, "no measure"),
        ({"options": SearchOptions(similarity="cosine")}, "made for 'dot'"),
        ({"split": "dev"}, "there are test"),
    ):
        with pytest.raises(InputError, match=words):
            evaluate_retriever(retriever, [beir_folder], tmp_path / "out", **change)
        assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="depth is 0"):
        SearchOptions(depth=0)
    with pytest.raises(InputError, match="Two data sets called 'tiny'"):
        evaluate_retriever(retriever, [beir_folder, beir_folder], tmp_path / "out")


def test_forced_similarity(retriever, beir_folder, tmp_path):
    options = SearchOptions(similarity="cosine", force=True)
    evaluation = evaluate_retriever(retriever, beir_folder, name="m", options=options)
    assert evaluation.systems[1] == "m (cosine)"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny"]  # nothing is written where no folder is named


def test_a_retriever_may_be_called_as_bm25_is(retriever, write_beir, tmp_path):
    """What a row is, is not told by its name; the runs of both are there, over languages too."""
    first = write_beir(tmp_path / "first")
    second = write_beir(tmp_path / "second", corpus={"d1": ("", "北京是中国的首都。")}, qrels=[("q1", "d1", 1)])
    evaluation = evaluate_retriever(retriever, [first, second], tmp_path / "out", name="BM25")
    bm25, own = evaluation.systems
    assert own == "BM25 (dot)" and "English stemming; " in bm25 and "CJK" in bm25
    assert evaluation.kinds == {bm25: "bm25", own: "retriever"}
    assert len(list((tmp_path / "out" / "runs").glob("*/first.trec"))) == 2


def test_nfcorpus_equals_pytrec_eval_directly(shared_data):
    """Graded gains of a real data set: BM25's run measured by us and by pytrec_eval alone."""
    from hf_cocondenser.retrieval.bm25 import BM25Index
    from hf_cocondenser.retrieval.collections.loading import load_retrieval_data

    data = load_retrieval_data(shared_data / "nfcorpus-filtered")
    run = BM25Index.build(data.corpus).search(data.queries, 100)
    assert data.counts["graded_judgements"] == 576
    trec = pytrec_eval.RelevanceEvaluator(data.qrels, {"ndcg_cut.10", "recall.100"}).evaluate(run)
    means = measure_run(data, run, ["nDCG@10", "Recall@100"]).means
    for ours, theirs in (("nDCG@10", "ndcg_cut_10"), ("Recall@100", "recall_100")):
        assert means[ours] == pytest.approx(sum(v[theirs] for v in trec.values()) / len(data.qrels), abs=1e-12)


def test_own_document_of_bm25_does_not_shift_the_fusion(retriever, write_beir, tmp_path):
    """ArguAna's queries are documents: neither run may hold the query itself, and the ranks fused start after it."""
    corpus = {f"a{i}": ("", f"whale song number {WORDS[i]} {WORDS[i + 1]}") for i in range(6)}
    queries = {name: text for name, (_, text) in corpus.items()}
    folder = write_beir(
        tmp_path / "arguana", corpus=corpus, queries=queries, qrels=[(f"a{i}", f"a{i - 1}", 1) for i in range(1, 6)]
    )
    evaluate_retriever(retriever, [folder], tmp_path / "out", name="m", options=SearchOptions(hybrid=True))
    runs = {path.parent.name: read_run(path) for path in (tmp_path / "out" / "runs").glob("*/arguana.trec")}
    for run in runs.values():
        assert len(run) == 5 and all(query not in hits and hits for query, hits in run.items())
    (fused,) = [run for name, run in runs.items() if name.startswith("hybrid")]
    expected = reciprocal_rank_fusion([run for name, run in runs.items() if not name.startswith("hybrid")])
    assert len(runs) == 3 and fused.keys() == expected.keys()
    for query, hits in fused.items():
        assert hits == pytest.approx(expected[query])


def test_ids_that_no_run_can_hold_are_refused_first(retriever, write_beir, tmp_path):
    folder = write_beir(
        tmp_path / "blank", corpus={"d 1": ("", "whales")}, queries={"q": "whales"}, qrels=[("q", "d 1", 1)]
    )
    with pytest.raises(InputError, match="'d 1' is empty or holds white space"):
        evaluate_retriever(retriever, [folder], tmp_path / "out")
    assert not (tmp_path / "out").exists()
