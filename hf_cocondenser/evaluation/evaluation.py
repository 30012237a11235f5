"""What `evaluate_retriever` and `compare_runs` return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from hf_cocondenser.evaluation.measures import PerQuery
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.runs import Run
from hf_cocondenser.utils.tables import Table, markdown_table, with_interval

Interval = tuple[float, float]
Kind = Literal["bm25", "retriever", "hybrid", "run"]

EXPLANATION = (
    "Means over all judged queries (a query without results counts 0) with 95 % bootstrap intervals over queries."
    " p: two-sided paired randomisation test over queries; Holm's correction is over the data sets."
)


@dataclass(frozen=True)
class SystemResult:
    """One system on one data set: its run, means with 95 % intervals over queries, and values query by query."""

    run: Run
    means: dict[str, float]
    intervals: dict[str, Interval]
    per_query: PerQuery


@dataclass
class Comparison:
    """A system against the baseline on one data set by one measure.

    Attributes:
        difference: mean over queries of system minus baseline.
        interval: its paired 95 % bootstrap interval.
        p_value: of the two-sided paired randomisation test.
        p_holm: the same, corrected for the number of data sets.
        wins, losses, ties: queries on which the system is better, worse, equal.
    """

    data_set: str
    system: str
    baseline: str
    measure: str
    difference: float
    interval: Interval
    p_value: float
    p_holm: float
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True, repr=False)
class Evaluation:
    """All that was measured; `print(evaluation)` shows the tables.

    Attributes:
        measures: in the order asked for; the first is the main one.
        baseline: the system that the others are compared with.
        data: the data sets by name.
        results: data set -> system -> result.
        kinds: system -> `bm25`, `retriever`, `hybrid` (both fused) or `run` (read from a file).
        comparisons: of every system but the baseline, by every measure.
        settings: how the runs were made.
    """

    measures: tuple[str, ...]
    baseline: str
    data: dict[str, RetrievalData]
    results: dict[str, dict[str, SystemResult]]
    kinds: dict[str, Kind]
    comparisons: list[Comparison] = field(default_factory=list)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def systems(self) -> list[str]:
        """Names of all systems, the baseline first."""
        return [self.baseline, *(name for name in self.kinds if name != self.baseline)]

    @property
    def means(self) -> dict[str, dict[str, dict[str, float]]]:
        """Data set -> system -> measure -> mean over the judged queries."""
        return self._each("means")

    @property
    def intervals(self) -> dict[str, dict[str, dict[str, Interval]]]:
        """Data set -> system -> measure -> low and high end of the 95 % interval."""
        return self._each("intervals")

    @property
    def per_query(self) -> dict[str, dict[str, PerQuery]]:
        """Data set -> system -> query -> measure -> value."""
        return self._each("per_query")

    @property
    def runs(self) -> dict[str, dict[str, Run]]:
        """Data set -> system -> query -> document -> score."""
        return self._each("run")

    def _each(self, what: str) -> dict[str, dict[str, Any]]:
        return {
            data: {s: getattr(result, what) for s, result in found.items()} for data, found in self.results.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """All figures but those of single queries, as `results.json` has them."""
        return {
            "settings": dict(self.settings),
            "measures": list(self.measures),
            "baseline": self.baseline,
            "data_sets": {
                name: {
                    "split": data.split,
                    "counts": data.counts,
                    "protocol": asdict(data.protocol),
                    "systems": {
                        system: {"kind": self.kinds[system], "means": result.means, "intervals": result.intervals}
                        for system, result in self.results[name].items()
                    },
                }
                for name, data in self.data.items()
            },
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
        }

    def to_markdown(self) -> str:
        """The tables in Markdown."""
        return "\n\n".join(
            [*(f"## {title}\n\n{markdown_table(table)}" for title, table in self.tables()), EXPLANATION]
        )

    def tables(self) -> list[tuple[str, Table]]:
        """Titles and tables: one for each data set, their mean where there are several, and the comparisons."""
        tables = [(_title(self.data[name]), self._means_table(name)) for name in self.results]
        if len(self.results) > 1:
            tables.append((f"Mean of {len(self.results)} data sets", self._mean_of_means()))
        if self.comparisons:
            tables.append((f"Against {self.baseline}", _comparison_table(self.comparisons)))
        return tables

    def _means_table(self, data_set: str) -> Table:
        rows = [["System", *self.measures]]
        for system in self.systems:
            result = self.results[data_set][system]
            rows.append([system, *(with_interval(result.means[m], result.intervals[m]) for m in self.measures)])
        return rows

    def _mean_of_means(self) -> Table:
        rows = [["System", *self.measures]]
        for system in self.systems:
            found = [systems[system].means for systems in self.results.values()]
            rows.append([system, *(f"{sum(means[m] for means in found) / len(found):.4f}" for m in self.measures)])
        return rows

    def __str__(self) -> str:
        return self.to_markdown()

    def __repr__(self) -> str:
        main = self.measures[0]
        figures = (
            f"{name}: {', '.join(f'{system} {means[main]:.4f}' for system, means in systems.items())}"
            for name, systems in self.means.items()
        )
        return f"Evaluation({main} of {'; '.join(figures)})"


def _title(data: RetrievalData) -> str:
    documents = f", {len(data.corpus):,} documents" if data.corpus else ""
    split = f"{data.split}: " if data.split else ""
    return f"{data.name} ({split}{len(data.qrels):,} queries{documents})"


def _comparison_table(comparisons: list[Comparison]) -> Table:
    rows = [["Data set", "System", "Measure", "Difference", "p", "p (Holm)", "Better/worse/equal"]]
    for c in comparisons:
        difference = with_interval(c.difference, c.interval, sign="+")
        counts = f"{c.wins}/{c.losses}/{c.ties}"
        rows.append([c.data_set, c.system, c.measure, difference, _p(c.p_value), _p(c.p_holm), counts])
    return rows


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
