"""What a study trains: one cell for every model, stage and share of the training queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.measures import check_measures
from hf_cocondenser.utils.files import file_name
from hf_cocondenser.utils.options import PositiveInt, check, option

Variant = Literal["GTR", "GTR-FT", "GTR-PT"]


@dataclass
class StudyConfig:
    """What a study compares and measures.

    Raises:
        InputError: a value is out of its range, or there is nothing to measure on.
    """

    evaluate_on: list[str] = field(
        metadata={
            "help": "BEIR folders to measure on; the training data among them is in domain, the others out of it"
        }
    )
    shares: list[float] = field(
        default_factory=lambda: [0.1], metadata={"help": "shares of the training queries to compare with all of them"}
    )
    ablations: bool = field(default=True, metadata={"help": "with pairs: also leave out either of the two stages"})
    main_measure: str = field(default="nDCG@10", metadata={"help": "what everything is measured by"})
    eval_queries: PositiveInt | None = option(None, "queries of each data set at most, sampled (default: all)")
    eval_documents: PositiveInt | None = option(
        None, "documents at most: the relevant ones and others, sampled (default: all)"
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.evaluate_on:
            raise InputError("There is nothing to measure on; name BEIR folders with --evaluate-on.")
        if any(not 0 < share < 1 for share in self.shares):
            raise InputError(
                f"The shares {self.shares} must each lie between 0 and 1; all of the data is always there."
            )
        check_measures([self.main_measure])


@dataclass(frozen=True)
class Cell:
    """One retriever: trained on pairs and judged queries (GTR), or on one of the two, and on what share of the queries."""

    model: str
    variant: Variant
    share: float = 1.0

    @property
    def name(self) -> str:
        """A name fit for a folder."""
        share = "" if self.share == 1 else f"-{self.share:g}"
        return file_name(f"{self.model.rstrip('/').rsplit('/', 1)[-1]}-{self.variant.lower()}{share}")


def plan_cells(models: Sequence[str], config: StudyConfig, pairs: bool) -> list[Cell]:
    """All cells, each after the one it starts from.

    Raises:
        InputError: two models have one name.
    """
    full: Variant = "GTR" if pairs else "GTR-FT"
    cells = []
    for model in models:
        if pairs:
            cells.append(Cell(model, "GTR-PT"))
        cells.append(Cell(model, full))
        if pairs and config.ablations:
            cells.append(Cell(model, "GTR-FT"))
        cells += [Cell(model, full, share) for share in sorted(set(config.shares), reverse=True)]
    names = [cell.name for cell in cells]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"Two models of the study would be called '{name}'; rename one of the folders.")
    return cells
