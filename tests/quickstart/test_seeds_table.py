"""README's table of several seeds says what their results.json say."""

from __future__ import annotations

from benchmarks.quickstart import MEASURES, seeds_table


def results(value: float) -> dict:
    figures = {measure: {"mean": value, "interval": [value - 0.1, value + 0.1]} for measure in MEASURES}
    constant = {measure: {"mean": 0.5} for measure in MEASURES}
    return {"table": {"BM25": constant, "dense": figures}, "differences": {"dense - BM25": figures}}


def test_means_ranges_and_every_difference():
    head, rule, bm25, dense, _, *differences = seeds_table([results(0.2), results(0.4)]).splitlines()
    assert head.split() == ["|", "|", "nDCG@10", "|", "MRR@10", "|", "Recall@100", "|"] and set(rule) == {"|", "-"}
    assert bm25.count(" 0.500 ") == 3 and "(" not in bm25
    assert dense.count("0.300 (0.200-0.400)") == 3
    assert differences[0] == "- dense - BM25: nDCG@10 +0.200 [+0.100, +0.300], +0.400 [+0.300, +0.500]"
    assert len(differences) == 3
