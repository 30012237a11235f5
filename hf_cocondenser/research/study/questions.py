"""The questions of a study: from the cells' values to a table and the panels of a plot for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hf_cocondenser.research.study.cells import Values
from hf_cocondenser.research.study.plan import Cell
from hf_cocondenser.research.study.statistics import Estimate, estimate
from hf_cocondenser.utils.tables import Table

BM25 = "BM25"


@dataclass(frozen=True)
class Measured:
    """All values of a study.

    Attributes:
        models: in the order of the study.
        values: of every cell.
        bm25: of BM25.
        parameters: of every model's retriever.
        in_domain: the data set that was trained on; None where it is not among those measured.
        words: data set -> group of documents -> words of each.
    """

    models: Sequence[str]
    values: Mapping[Cell, Values]
    bm25: Values
    parameters: Mapping[str, int]
    in_domain: str | None
    words: Mapping[str, Mapping[str, Sequence[float]]]

    @property
    def data_sets(self) -> list[str]:
        """The one in domain first."""
        return sorted(self.bm25, key=lambda name: name != self.in_domain)

    @property
    def domains(self) -> dict[str, list[str]]:
        """The data set in domain, and those out of it, as far as there are any."""
        out = [name for name in self.data_sets if name != self.in_domain]
        found = {"in domain": [self.in_domain] if self.in_domain else [], "out of domain": out}
        return {domain: names for domain, names in found.items() if names}

    def mean(
        self, cell: Cell | None, names: Sequence[str], less: Cell | None = None, kind: str = "measure"
    ) -> Estimate:
        """The mean of a cell (None: BM25) over data sets; or of its differences from the cell `less`, query by query."""
        return estimate([self._of(cell, name, kind) - (self._of(less, name, kind) if less else 0) for name in names])

    def above_bm25(self, cell: Cell, name: str) -> Estimate:
        """A cell's paired difference from BM25 on a data set."""
        return estimate([self._of(cell, name, "measure") - self._of(None, name, "measure")])

    def _of(self, cell: Cell | None, name: str, kind: str) -> np.ndarray:
        return np.asarray((self.bm25 if cell is None else self.values[cell])[name][kind])

    def full(self, model: str) -> Cell:
        """A model trained on everything there is."""
        return Cell(model, "GTR" if Cell(model, "GTR") in self.values else "GTR-FT")


@dataclass
class Answer:
    """One question's table and plot.

    Attributes:
        name: of the files.
        title: what is asked.
        table: the first row is the head.
        categories: along the axis of the plot.
        panels: panel -> series -> an estimate for every category (None: there is none).
        lines: panel -> a level to compare with.
        label: of the plot's values.
    """

    name: str
    title: str
    table: Table
    categories: list[str]
    label: str
    panels: dict[str, dict[str, list[Estimate | None]]] = field(default_factory=dict)
    lines: dict[str, float] = field(default_factory=dict)


def scaling(measured: Measured, measure: str) -> Answer:
    """Does a larger encoder help at one dimension of the vectors?"""
    domains = measured.domains
    table = [["model", "parameters", *measured.data_sets, *(f"mean {d}" for d, names in domains.items() if names[1:])]]
    answer = Answer("scaling", "Scale: one dimension, several sizes", table, [*measured.models], measure)
    rows = [(BM25, None), *((model, measured.full(model)) for model in measured.models)]
    for name, cell in rows:
        row = [name, f"{measured.parameters[name] / 1e6:.1f}M" if cell else ""]
        row += [str(measured.mean(cell, [data])) for data in measured.data_sets]
        table.append([*row, *(str(measured.mean(cell, names)) for names in domains.values() if names[1:])])
    for domain, names in domains.items():
        found: list[Estimate | None] = [measured.mean(measured.full(model), names) for model in measured.models]
        answer.panels[domain] = {"trained": found}
        answer.lines[domain] = measured.mean(None, names).mean
    return answer


def domains(measured: Measured, measure: str) -> Answer:
    """How far from BM25, data set by data set?"""
    table = [["model", *measured.data_sets]]
    title = "Domains: difference from BM25, by data set"
    answer = Answer("domains", title, table, measured.data_sets, f"{measure}, difference from BM25")
    series: dict[str, list[Estimate | None]] = {}
    for model in measured.models:
        found = [measured.above_bm25(measured.full(model), data) for data in measured.data_sets]
        series[model] = [*found]
        table.append([model, *(one.signed for one in found)])
    answer.panels["all"], answer.lines["all"] = series, 0.0
    return answer


def data_efficiency(measured: Measured, measure: str) -> Answer:
    """How much of the judged queries is needed?"""
    names = [f"{domain}{part}" for domain in measured.domains for part in ("", ", less all of it")]
    table = [["model", "share", *names]]
    answer = Answer("data", "Data: shares of the training queries", table, [*measured.models], measure)
    shares = sorted({cell.share for cell in measured.values}, reverse=True)
    for domain in measured.domains:
        answer.panels[domain] = {f"{share:.0%}": [] for share in shares}
    for model in measured.models:
        full = measured.full(model)
        for share in shares:
            cell = Cell(model, full.variant, share)
            row = [model, f"{share:.0%}"]
            for domain, data in measured.domains.items():
                found = measured.mean(cell, data)
                answer.panels[domain][f"{share:.0%}"].append(found)
                row += [str(found), "" if share == 1 else measured.mean(cell, data, less=full).signed]
            table.append(row)
    return answer


def ablations(measured: Measured, measure: str) -> Answer:
    """What does each of the two stages give?"""
    names = [f"{domain}{part}" for domain in measured.domains for part in ("", ", less GTR")]
    table = [["model", "stages", *names]]
    answer = Answer("ablations", "Stages: both, and either alone", table, [*measured.models], measure)
    variants = [v for v in ("GTR", "GTR-FT", "GTR-PT") if any(c.variant == v for c in measured.values)]
    for domain in measured.domains:
        answer.panels[domain] = {variant: [] for variant in variants}
    for model in measured.models:
        for variant in variants:
            cell = Cell(model, variant)  # type: ignore[arg-type]
            row = [model, variant]
            for domain, data in measured.domains.items():
                found = measured.mean(cell, data)
                answer.panels[domain][variant].append(found)
                row += [
                    str(found),
                    "" if variant == "GTR" else measured.mean(cell, data, less=measured.full(model)).signed,
                ]
            table.append(row)
    return answer


def lengths(measured: Measured) -> Answer:
    """How long are the documents that are found?"""
    table = [["words of documents", *measured.data_sets]]
    series: dict[str, list[Estimate | None]] = {}
    for group in ("corpus", "relevant"):
        series[group] = [estimate([measured.words[data][group]]) for data in measured.data_sets]
    series[BM25] = [measured.mean(None, [data], kind="words") for data in measured.data_sets]
    for model in measured.models:
        series[model] = [measured.mean(measured.full(model), [data], kind="words") for data in measured.data_sets]
    for name, found in series.items():
        kind = name if name in ("corpus", "relevant") else f"top 10 of {name}"
        table.append([kind, *(one.rounded for one in found if one is not None)])
    title = "Lengths: words of the retrieved top 10"
    return Answer("lengths", title, table, measured.data_sets, "words (mean)", {"all": series})


def answers(measured: Measured, measure: str) -> list[Answer]:
    """Every question that the cells of the study can answer."""
    found = [scaling(measured, measure), domains(measured, measure)]
    if any(cell.share < 1 for cell in measured.values):
        found.append(data_efficiency(measured, measure))
    if any(cell.variant == "GTR" for cell in measured.values):
        found.append(ablations(measured, measure))
    return [*found, lengths(measured)]
