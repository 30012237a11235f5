"""`benchmarks.starts`: cells are trained, measured, kept; intervals hold seeds and queries."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.starts import difference, estimate, main
from hf_cocondenser.retrieval.retriever import load_retriever
from tests.toy_collection import write_backbone, write_collection

pytestmark = pytest.mark.slow


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    write_backbone(tmp_path / "toy")
    (tmp_path / "data").mkdir()
    data = str(write_collection(tmp_path / "data"))
    toy = ["--starts", f"toy={tmp_path / 'toy'}", "random", "--shape-of", "toy"]
    return [*toy, "--data", data, "--evaluate-on", data, "--seeds", "1", "--output-dir", str(tmp_path / "out")]


FLAGS = [
    "--max-steps",
    "1",
    "--batch-size",
    "8",
    "--eval-strategy",
    "no",
    "--passage-length",
    "32",
    "--no-bf16",
]


def test_cells_are_trained_measured_and_kept(command, tmp_path):
    main([*command, "--labels", "none", "8", "--", *FLAGS])
    table = (tmp_path / "out" / "table.md").read_text("utf-8")
    assert "BM25" in table
    for start in ("toy", "random"):
        for cell in (f"| none   | 1     | {start}", f"| 8      | 1     | {start}", f"| 8      | 2     | {start}"):
            assert cell in table
    retrievers = sorted((tmp_path / "out" / "cells").rglob("modules.json"))
    written = [path.stat().st_mtime_ns for path in retrievers]
    main([*command, "--labels", "none", "8", "--", *FLAGS])  # nothing is trained again
    assert [path.stat().st_mtime_ns for path in retrievers] == written
    assert (tmp_path / "out" / "table.md").read_text("utf-8") == table


def test_labels_are_counted_after_the_held_out_queries(command, tmp_path):
    (tmp_path / "data" / "qrels" / "dev.tsv").unlink()
    command.remove("random")
    main([*command, "--labels", "8", "--", *FLAGS, "--eval-strategy", "steps", "--eval-steps", "1", "--rounds", "1"])
    record = json.loads((tmp_path / "out" / "cells" / "toy-8-1" / "finetuning.json").read_text("utf-8"))
    assert record["dev"]["queries"] > 0 and record["data"]["training_queries"] == 8


def test_random_weights_that_a_kill_cut_short_are_drawn_again(command, tmp_path):
    folder = tmp_path / "out" / "random" / "toy-1"
    folder.mkdir(parents=True)
    shutil.copy(tmp_path / "toy" / "config.json", folder)
    main([*command, "--labels", "none", "--", *FLAGS])
    assert (folder / "model.safetensors").is_file()
    assert [path.name for path in folder.parent.iterdir()] == ["toy-1"]


def test_a_cell_of_other_settings_is_refused(command, tmp_path):
    command.remove("random")
    main([*command, "--labels", "none", "--", *FLAGS])
    with pytest.raises(SystemExit, match=r"toy-none-1' was made with other settings \(finetuning\)"):
        main([*command, "--labels", "none", "--", *FLAGS, "--query-length", "16"])
    write_backbone(tmp_path / "toy", seed=1)
    with pytest.raises(SystemExit, match=r"other settings \(checkpoint\)"):
        main([*command, "--labels", "none", "--", *FLAGS])


def test_without_labels_the_lengths_are_those_of_the_flags(command, tmp_path):
    main([*command, "--labels", "none", "--", *FLAGS, "--pooling", "mean"])
    retriever = load_retriever(tmp_path / "out" / "cells" / "toy-none-1")
    assert retriever[0].document_length == 32
    assert retriever[1].pooling_mode == "mean"


@pytest.mark.parametrize("labels", ["0", "-5", "some"])
def test_labels_are_a_number_all_or_none(command, labels):
    with pytest.raises(SystemExit):
        main([*command, f"--labels={labels}", "--", *FLAGS])


def test_a_fine_tuning_that_fails_ends_it(command, tmp_path):
    with pytest.raises(SystemExit, match="failed; see above"):
        main([*command, "--labels", "8", "--", *FLAGS, "--attn-implementation", "none-such"])
    assert not (tmp_path / "out" / "table.md").exists()
    main([*command, "--labels", "8", "--", *FLAGS])  # with the flag mended it goes on
    assert (tmp_path / "out" / "table.md").exists()


def test_flags_that_finetune_does_not_know_are_refused_first(command, tmp_path):
    with pytest.raises(SystemExit, match="no-such-flag"):
        main([*command, "--labels", "8", "--", "--no-such-flag"])
    assert not (tmp_path / "out" / "cells").exists()


def test_intervals_hold_the_seeds_too():
    rng = np.random.default_rng(0)
    queries = rng.random(400)
    alike, apart = [list(queries)] * 3, [list(queries + shift) for shift in (-0.3, 0.0, 0.3)]

    def width(values: list[list[float]]) -> float:
        found = estimate(values)
        return found.high - found.low

    assert width(apart) > 3 * width(alike)
    # paired by query and seed: what both share does not widen the interval of the difference
    better = [[value + 0.1 for value in seed] for seed in apart]
    assert difference(better, apart) == "+0.100 [+0.100, +0.100]"
    assert difference(apart, apart) == ""


@pytest.mark.parametrize("seeds", [1, 3])
def test_one_seed_is_compared_with_each_of_the_others(seeds):
    assert difference([[1.0, 0.0]] * seeds, [[0.0, 0.0]]).startswith("+0.500")
