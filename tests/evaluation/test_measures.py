"""The measures against ir_measures and pytrec_eval, and what neither does alone."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import ir_measures
import numpy as np
import pytest
import pytrec_eval

from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.measures import evaluate_run
from hf_cocondenser.retrieval.collections.judgements import qrels_alone, read_qrels
from hf_cocondenser.retrieval.fusion import reciprocal_rank_fusion
from hf_cocondenser.retrieval.runs import read_run, write_run

NAMES = {
    "nDCG@10": "nDCG@10",
    "nDCG": "nDCG",
    "MRR": "RR",
    "Recall@20": "R@20",
    "MAP": "AP",
    "MAP@20": "AP@20",
    "Success@5": "Success@5",
    "P@10": "P@10",
}


@pytest.fixture(scope="module")
def random_case():
    """Graded, zero and negative judgements, tied scores, queries without results or without relevant documents."""
    rng = np.random.default_rng(0)
    documents = np.array([f"d{i}" for i in range(60)], dtype=object)
    qrels, run = {}, {}
    for q in range(40):
        judged = rng.choice(documents, size=8, replace=False)
        qrels[f"q{q}"] = {d: int(rng.integers(-1, 4)) for d in judged}
        if q % 7:
            returned = rng.choice(documents, size=30, replace=False)
            run[f"q{q}"] = {d: float(rng.integers(0, 6)) / 3 for d in returned}
    qrels["q0"] = dict.fromkeys(qrels["q0"], 0)
    run["unjudged"] = {"d1": 1.0}
    return qrels, run


def test_equals_ir_measures(random_case):
    qrels, run = random_case
    means, per_query = evaluate_run(qrels, run, list(NAMES))
    judged_run = {query: hits for query, hits in run.items() if query in qrels}
    for ours, theirs in NAMES.items():
        measure = ir_measures.parse_measure(theirs)
        assert means[ours] == pytest.approx(
            ir_measures.calc_aggregate([measure], qrels, judged_run)[measure], abs=1e-9
        )
        for metric in ir_measures.iter_calc([measure], qrels, judged_run):
            assert per_query[metric.query_id][ours] == pytest.approx(metric.value, abs=1e-9)


def test_mrr_equals_ir_measures():
    """Without ties: ir_measures breaks them in its own way at the cut of RR@k."""
    rng = np.random.default_rng(1)
    qrels = {f"q{q}": {f"d{d}": 1 for d in rng.choice(60, 2)} for q in range(30)}
    run = {query: {f"d{d}": float(rng.random()) for d in range(60)} for query in qrels}
    measure = ir_measures.parse_measure("RR@10")
    expected = ir_measures.calc_aggregate([measure], qrels, run)[measure]
    assert evaluate_run(qrels, run, ["MRR@10"])[0]["MRR@10"] == pytest.approx(expected, abs=1e-9)


def test_query_without_results_counts_zero():
    qrels = {"q1": {"d1": 1}, "q2": {"d1": 1}}
    run = {"q1": {"d1": 1.0}}
    alone = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(run)
    assert list(alone) == ["q1"]
    means, per_query = evaluate_run(qrels, run, ["nDCG@10", "MRR@10"])
    assert means == {"nDCG@10": 0.5, "MRR@10": 0.5}
    assert per_query["q2"] == {"nDCG@10": 0.0, "MRR@10": 0.0}


def test_gains_are_linear():
    # Exponential gains would give (1 + 7/log2(3)) / (7 + 1/log2(3)).
    means, _ = evaluate_run({"q": {"a": 1, "b": 3}}, {"q": {"a": 2.0, "b": 1.0}}, ["nDCG@10"])
    assert means["nDCG@10"] == pytest.approx((1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3)))


def test_mrr_cut_ranks_ties_as_trec_eval(random_case):
    """MRR@k is the whole reciprocal rank where that rank is within k, else 0; scores here are mostly tied."""
    qrels, run = random_case
    _, per_query = evaluate_run(qrels, run, ["MRR", "MRR@1", "MRR@3", "MRR@10"])
    for values in per_query.values():
        for cut in (1, 3, 10):
            assert values[f"MRR@{cut}"] == (values["MRR"] if values["MRR"] >= 1 / cut else 0.0)


@pytest.mark.parametrize("measure", ["nDCG@10", "MRR@10", "MRR", "MAP", "P@1", "Success@1", "Recall@1"])
@pytest.mark.parametrize("apart", [1e-9, 1e-12])
def test_scores_are_compared_in_double_precision(measure, apart):
    """As trec_eval 10 does; in float32 the two are equal, and the greater id "b" would come first."""
    run = {"q": {"a": 1.0 + apart, "b": 1.0}}
    assert evaluate_run({"q": {"a": 1, "b": 0}}, run, [measure])[0][measure] == 1.0
    assert evaluate_run({"q": {"a": 0, "b": 1}}, {"q": {"a": 1.0, "b": 1.0}}, [measure])[0][measure] == 1.0


def test_scores_beyond_float32_are_no_ties():
    assert evaluate_run({"q": {"a": 1}}, {"q": {"a": 1e300, "b": 1e299}}, ["MRR@10"])[0]["MRR@10"] == 1.0


# qrels and run by hand; the values are trec_eval's own (pytrec_eval, where no two scores are nearer than float32 tells).
RECORDED = {
    "ndcg_cut.5": ("nDCG@5", 0.5733332976),
    "ndcg": ("nDCG", 0.5733332976),
    "map": ("MAP", 0.5481481481),
    "map_cut.3": ("MAP@3", 0.4814814815),
    "recip_rank": ("MRR", 0.6666666667),
    "P.5": ("P@5", 0.4),
    "recall.5": ("Recall@5", 0.8888888889),
    "success.1": ("Success@1", 0.3333333333),
}


def test_values_recorded_from_trec_eval():
    qrels = {
        "1": {"a": 3, "b": 0, "c": 1, "d": 2, "e": -1},
        "2": {"a": 1, "f": 1, "gone": 2},  # "gone" is in no corpus, and part of the ideal ranking
        "3": {"b": 1},
    }
    run = {
        "1": {"b": 9.0, "a": 8.0, "c": 8.0, "x": 7.5, "d": 7.0, "e": 1.0},
        "2": {"f": 2.5, "x": 2.0, "a": 1.0, "b": 0.5},
        "3": {"x": 3.0, "b": 3.0, "a": 3.0},
    }
    means, _ = evaluate_run(qrels, run, [ours for ours, _ in RECORDED.values()])
    assert means == pytest.approx(dict(RECORDED.values()), abs=1e-9)
    trec = pytrec_eval.RelevanceEvaluator(qrels, set(RECORDED)).evaluate(run).values()
    for name, (ours, _) in RECORDED.items():
        assert means[ours] == pytest.approx(np.mean([values[name.replace(".", "_")] for values in trec]), abs=1e-12)


TREC_EVAL = os.environ.get("HF_COCONDENSER_TREC_EVAL")


@pytest.mark.skipif(not TREC_EVAL, reason="HF_COCONDENSER_TREC_EVAL names no folder with trec_eval's test/ files")
@pytest.mark.parametrize("comments", [False, True])
def test_trec_evals_own_files_give_its_recorded_values(comments):
    """qrels.test, results.test and out.test.aqc (of `trec_eval -q -a -c`), also with its files with comments."""
    folder = Path(str(TREC_EVAL))
    qrels = qrels_alone("t", read_qrels(folder / ("qrels.test.with-comments" if comments else "qrels.test")))
    run = read_run(folder / "results.test")
    names = {
        "MAP": "map",
        "MRR": "recip_rank",
        "nDCG": "ndcg",
        "nDCG@10": "ndcg_cut_10",
        "P@10": "P_10",
        "Recall@100": "recall_100",
    }
    recorded = {}
    for line in (folder / "out.test.aqc").read_text().splitlines():
        measure, query, value = line.split()
        recorded[measure, query] = value
    means, per_query = evaluate_run(qrels, run, list(names))
    for ours, theirs in names.items():
        assert f"{means[ours]:.4f}" == recorded[theirs, "all"]
        for query, values in per_query.items():
            assert f"{values[ours]:.4f}" == recorded[theirs, query]


@pytest.mark.parametrize(
    "relevance",
    [1_700_000_000, 10**30, 10**5000, 0.5, float("nan"), float("inf"), "high", None],
    ids=lambda value: type(value).__name__,
)
def test_a_relevance_that_is_no_grade(relevance):
    with pytest.raises(InputError, match="relevance"):
        evaluate_run({"q": {"a": relevance}}, {"q": {"a": 1.0}})


def test_relevances_of_other_types():
    qrels = {"q": {"a": np.int64(1), "b": True, "c": 1.0, "d": "2"}}
    assert evaluate_run(qrels, {"q": {"d": 1.0}}, ["nDCG@1", "Recall@1"])[0] == {"nDCG@1": 1.0, "Recall@1": 0.25}


def test_numpy_scores_are_taken():
    means, _ = evaluate_run({"q": {"a": 1}}, {"q": {"a": np.float32(0.5)}})
    assert means["MRR@10"] == 1.0


@pytest.mark.parametrize("measure", ["nDCG@", "nDCG@0", "Recall", "foo@10", ""])
def test_unknown_measure(measure):
    with pytest.raises(InputError, match="measure"):
        evaluate_run({"q": {"a": 1}}, {"q": {"a": 1.0}}, [measure])


def test_run_round_trip(tmp_path, random_case):
    _, run = random_case
    write_run(tmp_path / "run.txt", run, tag="a tag")
    assert read_run(tmp_path / "run.txt") == run
    write_run(tmp_path / "numpy.txt", {"q": {"d": np.float32(1.5)}})
    assert read_run(tmp_path / "numpy.txt") == {"q": {"d": 1.5}}
    with (tmp_path / "run.txt").open() as file:
        parsed = pytrec_eval.parse_run(file)
    assert parsed == run
    first = (tmp_path / "run.txt").read_text().splitlines()[0].split()
    assert first[1] == "Q0" and first[3] == "1" and first[5] == "a_tag"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("# nothing\n", "empty"),
        ("q Q0 d 1 0.5\n", "Line 1"),
        ("q Q0 d 1 high tag\n", "Line 1.*'high' is not a finite number"),
        ("q Q0 d 1 nan tag\n", "finite"),
        ("q Q0 d 1 1e999 tag\n", "finite"),
        ("q Q0 d 1 1_0 tag\n", "'1_0' is not"),
        ("q Q0 d 1 0.5 t\nq Q0 d 2 0.4 t\n", "Line 2 .*'d' for the query 'q' again"),
    ],
)
def test_bad_run_files(tmp_path, content, words):
    (tmp_path / "run.txt").write_text(content)
    with pytest.raises(InputError, match=words):
        read_run(tmp_path / "run.txt")


def test_run_files_are_read_as_trec_eval_reads_them(tmp_path):
    lines = "\ufeffq1 Q0 d1 1 3.0 tag\n# a comment\n\n  q1\tQ0  d\u00a02 2 -1e-3 my tag of several words\r\nq2 Q0 d#3 1 .5 t"
    (tmp_path / "run.txt").write_text(lines, encoding="utf-8", newline="")
    expected = {"q1": {"d1": 3.0, "d\u00a02": -0.001}, "q2": {"d#3": 0.5}}
    assert read_run(tmp_path / "run.txt") == expected
    (tmp_path / "run.gz").write_bytes(gzip.compress((tmp_path / "run.txt").read_bytes()))
    assert read_run(tmp_path / "run.gz") == expected


def test_a_query_id_that_would_be_a_comment_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="begins with #"):
        write_run(tmp_path / "run.txt", {"#1": {"d": 1.0}})
    write_run(tmp_path / "run.txt", {"1": {"#d": 1.0}})
    assert read_run(tmp_path / "run.txt") == {"1": {"#d": 1.0}}


def test_ids_with_blanks_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="white space"):
        write_run(tmp_path / "run.txt", {"q 1": {"d": 1.0}})
    assert not list(tmp_path.iterdir())


def test_reciprocal_rank_fusion():
    first = {"q": {"a": 9.0, "b": 8.0}, "p": {"x": 1.0}}
    second = {"q": {"b": 0.2, "c": 0.1}}
    fused = reciprocal_rank_fusion([first, second])
    assert fused["q"] == pytest.approx({"b": 1 / 61 + 1 / 62, "a": 1 / 61, "c": 1 / 62})
    assert list(fused["q"]) == ["b", "a", "c"]
    assert list(reciprocal_rank_fusion([first, second], depth=1)["q"]) == ["b"]
    assert fused["p"] == {"x": 1 / 61}
