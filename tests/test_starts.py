"""`benchmarks.starts`: cells are trained, measured, kept; intervals hold seeds and queries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.starts import difference, estimate, main
from tests.toy_collection import write_backbone, write_collection


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    write_backbone(tmp_path / "toy")
    (tmp_path / "data").mkdir()
    data = str(write_collection(tmp_path / "data"))
    toy = ["--starts", f"toy={tmp_path / 'toy'}", "random", "--shape-of", "toy"]
    return [*toy, "--data", data, "--evaluate-on", data, "--seeds", "1", "--output-dir", str(tmp_path / "out")]


def test_cells_are_trained_measured_and_kept(command, tmp_path):
    main([*command, "--labels", "none", "--max-length", "32"])
    table = (tmp_path / "out" / "table.md").read_text("utf-8")
    assert "| none   | toy" in table and "| none   | random |" in table and "BM25" in table
    command.remove("random")
    flags = ["--rounds", "1", "--max-steps", "1", "--batch-size", "8", "--evaluations", "0", "--passage-length", "32"]
    main([*command, "--labels", "none", "8", "--", *flags, "--precision", "float32"])
    table = (tmp_path / "out" / "table.md").read_text("utf-8")
    assert "| none   | toy" in table and "| 8      | toy" in table
    # nothing is trained again, so the flag is not read
    main([*command, "--labels", "none", "8", "--", "--no-such-flag"])
    assert (tmp_path / "out" / "table.md").read_text("utf-8") == table


def test_a_fine_tuning_that_fails_ends_it(command, tmp_path):
    with pytest.raises(SystemExit, match="failed; see above"):
        main([*command, "--labels", "8", "--", "--no-such-flag"])
    assert not (tmp_path / "out" / "table.md").exists()


def test_intervals_hold_the_seeds_too():
    rng = np.random.default_rng(0)
    queries = rng.random(400)
    alike, apart = [list(queries)] * 3, [list(queries + shift) for shift in (-0.3, 0.0, 0.3)]

    def width(values: list[list[float]]) -> float:
        low, high = estimate(values).split("[")[1].rstrip("]").split(", ")
        return float(high) - float(low)

    assert width(apart) > 3 * width(alike)
    # paired by query and seed: what both share does not widen the interval of the difference
    better = [[value + 0.1 for value in seed] for seed in apart]
    assert difference(better, apart) == "+0.100 [+0.100, +0.100]"
    assert difference(apart, apart) == ""


@pytest.mark.parametrize("seeds", [1, 3])
def test_one_seed_is_compared_with_each_of_the_others(seeds):
    assert difference([[1.0, 0.0]] * seeds, [[0.0, 0.0]]).startswith("+0.500")
