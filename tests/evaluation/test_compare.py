"""Comparing runs: files, folders and dicts; judged collections and judgements alone."""

from __future__ import annotations

import json

import pytest

from hf_cocondenser import InputError, RetrievalData, compare_runs
from hf_cocondenser.retrieval.runs import write_run

CORPUS = {"d1": "whales sing", "d2": "bread", "d3": "stones"}
QUERIES = {"q1": "who sings?", "q2": "what is baked?"}
QRELS = {"q1": {"d1": 2, "d3": 0}, "q2": {"d2": 1}}
GOOD = {"q1": {"d1": 2.0, "d2": 1.0}, "q2": {"d2": 1.0}}
BAD = {"q1": {"d2": 2.0, "d1": 1.0}, "q2": {"d3": 1.0}}


def test_compare_refuses_what_does_not_fit(beir_folder, tmp_path):
    write_run(tmp_path / "a.trec", {"q1": {"d1": 1.0}})
    write_run(tmp_path / "b.trec", {"other": {"d1": 1.0}})
    assert "| a " in str(compare_runs(tmp_path / "a.trec", beir_folder))
    with pytest.raises(InputError, match="answers none of the judged queries"):
        compare_runs([tmp_path / "b.trec"], [beir_folder])
    with pytest.raises(InputError, match="name of its own"):
        compare_runs([tmp_path / "a.trec", tmp_path / "b.trec"], [beir_folder], names=["x"])
    with pytest.raises(InputError, match="is not a run file"):
        compare_runs([tmp_path / "none.trec"], [beir_folder])


def test_compare_a_run_of_a_larger_corpus(beir_folder, tmp_path, caplog):
    """Documents that nobody has here count as not relevant, and have no length."""
    write_run(tmp_path / "a.trec", {"q1": {"gone": 2.0, "d1": 1.0}})
    compare_runs([tmp_path / "a.trec"], [beir_folder], tmp_path / "out", measures=["MRR@10"])
    assert "names 1 documents that 'tiny' does not hold, such as 'gone'" in caplog.text
    results = json.loads((tmp_path / "out" / "results.json").read_text())["data_sets"]["tiny"]
    assert results["systems"]["a"]["means"]["MRR@10"] == 0.5 / 4
    own = next(group for group in results["document_lengths_top_10"] if group["group"] == "a")
    assert own["mean"] == own["percentiles"][0] > 0


def test_compare_a_folder_of_runs_of_other_queries(beir_folder, tmp_path):
    (tmp_path / "v1.5").mkdir()
    write_run(tmp_path / "v1.5" / "tiny.trec", {"q1": {"d1": 1.0}})
    assert "| v1.5 " in str(compare_runs(tmp_path / "v1.5", beir_folder))
    write_run(tmp_path / "v1.5" / "tiny.trec", {"other": {"d1": 1.0}})
    with pytest.raises(InputError, match="answers none of the judged queries"):
        compare_runs([tmp_path / "v1.5"], [beir_folder])


def test_runs_and_data_in_memory():
    data = RetrievalData.from_dicts(CORPUS, QUERIES, QRELS, name="tiny")
    evaluation = compare_runs({"good": GOOD, "bad": BAD}, data, measures=["MRR@10"])
    assert evaluation.means == {"tiny": {"good": {"MRR@10": 1.0}, "bad": {"MRR@10": 0.25}}}
    assert evaluation.per_query["tiny"]["bad"] == {"q1": {"MRR@10": 0.5}, "q2": {"MRR@10": 0.0}}
    assert evaluation.intervals["tiny"]["good"] == {"MRR@10": (1.0, 1.0)}
    (comparison,) = evaluation.comparisons
    assert (comparison.system, comparison.baseline, comparison.difference) == ("bad", "good", -0.75)
    assert repr(evaluation) == "Evaluation(MRR@10 of tiny: good 1.0000, bad 0.2500)"
    assert evaluation.runs["tiny"]["good"] == GOOD
    assert json.loads(json.dumps(evaluation.to_dict()))["data_sets"]["tiny"]["systems"]["bad"]["kind"] == "run"


def test_one_or_several_runs_of_every_kind(beir_folder, tmp_path):
    write_run(tmp_path / "a.trec", GOOD)
    data = RetrievalData.from_dicts(CORPUS, QUERIES, QRELS)
    alone = [
        compare_runs(run, data, measures=["MAP"]) for run in (GOOD, tmp_path / "a.trec", str(tmp_path / "a.trec"))
    ]
    assert [evaluation.systems for evaluation in alone] == [["run 1"], ["a"], ["a"]]
    several = compare_runs([tmp_path / "a.trec", BAD], [data], measures=["MAP"])
    assert several.systems == ["a", "run 2"]
    other = RetrievalData.from_dicts(CORPUS, QUERIES, QRELS, name="other")
    both = compare_runs({"s": {"data": GOOD, "other": BAD}}, [data, other], measures=["MRR@10"])
    assert both.means == {"data": {"s": {"MRR@10": 1.0}}, "other": {"s": {"MRR@10": 0.25}}}
    with pytest.raises(InputError, match="answers none of the judged queries of 'other'"):
        compare_runs({"s": {"data": GOOD}}, [data, other])
    with pytest.raises(InputError, match="score nan is not a finite number"):
        compare_runs({"q1": {"d1": float("nan")}}, data)
    for nothing in ([], {}):
        with pytest.raises(InputError, match="no run"):
            compare_runs(nothing, data)


@pytest.mark.parametrize(
    "content", ["q1 0 d1 2\nq1 0 d3 0\nq2 0 d2 1\n", "query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\td2\t1\n"]
)
def test_judgements_alone_are_enough(content, tmp_path):
    (tmp_path / "qrels.txt").write_text(content)
    evaluation = compare_runs(
        {"good": GOOD, "bad": BAD}, tmp_path / "qrels.txt", tmp_path / "out", measures=["MRR@10"]
    )
    assert evaluation.means == {"qrels": {"good": {"MRR@10": 1.0}, "bad": {"MRR@10": 0.25}}}
    assert "## qrels (2 queries)" in (tmp_path / "out" / "report.md").read_text()
    (tmp_path / "set" / "qrels").mkdir(parents=True)
    (tmp_path / "set" / "qrels" / "test.tsv").write_text(content)
    assert list(compare_runs(GOOD, tmp_path / "set").means) == ["set"]
    with pytest.raises(InputError, match="no answers, so Answer@5"):
        compare_runs(GOOD, tmp_path / "qrels.txt", measures=["Answer@5"])


def test_names_of_which_one_file_name_is_made_are_refused():
    """The one's run would be written over the other's."""
    data = RetrievalData.from_dicts(CORPUS, QUERIES, QRELS)
    with pytest.raises(InputError, match="'a b' and 'a-b' have one file name"):
        compare_runs([GOOD, BAD], data, names=["a b", "a-b"])


def test_cells_with_bars_and_line_ends_do_not_break_the_table():
    data = RetrievalData.from_dicts(CORPUS, QUERIES, QRELS)
    lines = compare_runs({"a|b\nc": GOOD}, data, measures=["MAP"]).to_markdown().splitlines()
    assert any(line.startswith(r"| a\|b c ") for line in lines)
