"""The study: what is trained, what stands in the tables, and that finished cells stay."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from transformers import T5EncoderModel

from hf_cocondenser.cli.main import main
from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.lengths import document_lengths, words_of_hits
from hf_cocondenser.evaluation.measures import evaluate_run
from hf_cocondenser.evaluation.significance import bootstrap_intervals
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.config import DevelopmentConfig, MiningConfig, PairsConfig
from hf_cocondenser.research.study.cells import StudyCells
from hf_cocondenser.research.study.plan import Cell, StudyConfig, plan_cells
from hf_cocondenser.research.study.statistics import estimate
from hf_cocondenser.research.study.study import run_study
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
from hf_cocondenser.retrieval.dense import dense_search
from hf_cocondenser.retrieval.retriever import load_retriever

pytestmark = pytest.mark.slow

MODELS = ["t5:1x32", "t5:2x32"]
OPTIONS = {
    "projection": 16,
    "per_device_train_batch_size": 16,
    "max_steps": 3,
    "learning_rate": 0.01,
    "eval_strategy": "no",
    "rounds": 1,
    "bf16": False,
    "passage_length": 32,
    "vocabulary": 300,
    "bm25_depth": 30,
    "bm25_negatives": 6,
    "pairs_steps": 3,
    "shares": 0.25,
}


@pytest.fixture(scope="module")
def other(beir_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second data set: the same collection asked by its development queries."""
    folder = tmp_path_factory.mktemp("other") / "elsewhere"
    shutil.copytree(beir_folder, folder)
    shutil.copyfile(folder / "qrels" / "dev.tsv", folder / "qrels" / "test.tsv")
    return folder


@pytest.fixture(scope="module")
def command(beir_folder: Path, other: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("study") / "out"
    options = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]
    places = ["--data", str(beir_folder), "--output-dir", str(folder), "--pairs", str(beir_folder)]
    return ["study", *MODELS, *places, *options, "--evaluate-on", str(other), str(beir_folder)]


@pytest.fixture(scope="module")
def study(command: list[str]) -> Path:
    assert main(command) == 0
    return Path(command[command.index("--output-dir") + 1])


def table(path: Path) -> list[list[str]]:
    rows = [line for line in path.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_a_cell_knows_its_start_and_what_chose_its_checkpoint(t5_folder: Path, beir_folder: Path, tmp_path: Path):
    model, data = tmp_path / "model", tmp_path / "toy"
    shutil.copytree(t5_folder, model)
    shutil.copytree(beir_folder, data)
    names = ("projection", "per_device_train_batch_size", "max_steps", "bf16", "passage_length")
    args = RetrieverTrainingArguments(**{name: OPTIONS[name] for name in names}, eval_steps=3)
    cell = Cell(str(model), "GTR-FT")

    def measure() -> None:
        config = StudyConfig(evaluate_on=[str(data)])
        mining, development = MiningConfig(rounds=1, bm25_depth=30, bm25_negatives=6), DevelopmentConfig()
        cells = StudyCells(data, tmp_path / "cells", config, args, mining, PairsConfig(), development)
        cells.train_and_measure(cell)

    measure()
    judgements = data / "qrels" / "dev.tsv"
    before = judgements.read_text()
    judgements.write_text("".join(before.splitlines(keepends=True)[:-1]))
    with pytest.raises(InputError, match=r"made with other inputs \(dev:"):
        measure()
    judgements.write_text(before)
    measure()
    encoder = T5EncoderModel.from_pretrained(model)
    encoder.shared.weight.data.mul_(2)
    encoder.save_pretrained(model)
    with pytest.raises(InputError, match=r"made with other inputs \(start:"):
        measure()


def test_every_question_has_a_table_and_a_plot(study: Path, beir_folder: Path):
    for name in ("scaling", "domains", "data", "ablations", "lengths"):
        assert (study / f"{name}.png").stat().st_size > 5000
        assert len(table(study / f"{name}.md")) > len(MODELS)
        assert f"({name}.png)" in (study / "report.md").read_text()
    head, bm25, *rows = table(study / "scaling.md")
    assert head == ["model", "parameters", beir_folder.name, "elsewhere"]  # what was trained on comes first
    assert bm25[0] == "BM25" and [row[0] for row in rows] == MODELS
    assert [row[:2] for row in table(study / "data.md")[1:]] == [[m, s] for m in MODELS for s in ("100%", "25%")]
    stages = [[m, v] for m in MODELS for v in ("GTR", "GTR-FT", "GTR-PT")]
    assert [row[:2] for row in table(study / "ablations.md")[1:]] == stages
    assert [row[0] for row in table(study / "lengths.md")[1:4]] == ["corpus", "relevant", "top 10 of BM25"]


def test_the_figures_are_those_of_the_retrievers(study: Path, other: Path):
    cell = study / "cells" / "t5-2x32-gtr"
    data = load_retrieval_data(other)
    run = dense_search(load_retriever(cell / "retriever"), data.queries, data.corpus, precision="float32")
    means, _ = evaluate_run(data.qrels, run, ["nDCG@10"])
    values = json.loads((cell / "values.json").read_text())["elsewhere"]
    assert np.mean(values["measure"]) == pytest.approx(means["nDCG@10"])
    assert table(study / "scaling.md")[3][3].startswith(f"{means['nDCG@10']:.3f} [")
    assert np.mean(values["words"]) == pytest.approx(document_lengths(data, {"run": run})[2].mean)
    assert values["words"] == words_of_hits(data, run)


def test_cells_start_where_they_should(study: Path):
    def manifest(cell: str, step: str) -> dict:
        return json.loads((study / "cells" / cell / "retriever" / "steps" / step / "manifest.json").read_text())

    for shape in ("1x32", "2x32"):
        after_pairs = manifest(f"t5-{shape}-gtr-pt", "pairs")["result"]["model_hash"]
        fresh = manifest(f"t5-{shape}-gtr-pt", "pairs")["inputs"]["start"]
        assert manifest(f"t5-{shape}-gtr", "round1")["inputs"]["start"] == after_pairs
        assert manifest(f"t5-{shape}-gtr-0.25", "round1")["inputs"]["start"] == after_pairs
        assert manifest(f"t5-{shape}-gtr-ft", "round1")["inputs"]["start"] == fresh
        assert manifest(f"t5-{shape}-gtr-0.25", "round1")["result"]["training_queries"] == 16
    assert len(list((study / "cells" / "negatives").iterdir())) == 2  # of either share, for both models
    tokenizers = {
        (study / "cells" / f"start-{s}" / "encoder" / "tokenizer.json").read_bytes() for s in ("1x32", "2x32")
    }
    assert len(tokenizers) == 1


def test_finished_cells_are_kept_and_a_missing_one_is_done(study: Path, command: list[str], capsys):
    report = (study / "report.md").read_text()
    weights = {path: path.stat().st_mtime_ns for path in study.glob("cells/*/retriever/model.safetensors")}
    shutil.rmtree(study / "cells" / "t5-2x32-gtr-0.25")
    assert main(command) == 0
    assert report in capsys.readouterr().out
    for path, time in weights.items():
        assert (path.stat().st_mtime_ns == time) == ("t5-2x32-gtr-0.25" not in str(path))
    assert main([*command, "--max-steps", "4"]) == 2
    assert "other inputs" in capsys.readouterr().err


def test_a_file_can_ask_for_no_shares(study: Path, command: list[str], tmp_path: Path, capsys):
    (tmp_path / "no_shares.yaml").write_text("shares: []\n")
    without = [part for part in command if not part.startswith("--shares")]
    assert main([*without, "--config", str(tmp_path / "no_shares.yaml")]) == 0
    assert "## Stages" in (report := capsys.readouterr().out) and "## Data" not in report


def test_the_plan():
    config = StudyConfig(evaluate_on=["x"], shares=[0.1, 0.5])
    names = [cell.name for cell in plan_cells(["a/t5-base"], config, pairs=True)]
    assert names == ["t5-base-gtr-pt", "t5-base-gtr", "t5-base-gtr-ft", "t5-base-gtr-0.5", "t5-base-gtr-0.1"]
    assert plan_cells(["m"], StudyConfig(["x"], shares=[]), pairs=False) == [Cell("m", "GTR-FT")]
    assert len(plan_cells(["m"], StudyConfig(["x"], shares=[], ablations=False), pairs=True)) == 2
    with pytest.raises(InputError, match="rename"):
        plan_cells(["a/m", "b/m"], config, pairs=True)


def test_intervals():
    rng = np.random.default_rng(0)
    one, two = rng.random(400), rng.random(50) + 1
    found = estimate([one])
    assert found.mean == pytest.approx(one.mean())
    assert [found.low, found.high] == pytest.approx(bootstrap_intervals(one).tolist(), abs=0.003)
    both = estimate([one, two])
    assert both.mean == pytest.approx((one.mean() + two.mean()) / 2)  # each data set counts once
    width = np.sqrt(one.var() / 400 + two.var() / 50) / 2 * 1.96
    assert (both.high - both.low) / 2 == pytest.approx(width, rel=0.1)
    assert estimate([np.full(9, 0.25)]).signed == "+0.250 [+0.250, +0.250]"


def test_bad_studies(beir_folder: Path, tmp_path: Path, capsys):
    for options in ({"evaluate_on": []}, {"shares": [1.5]}, {"eval_queries": -1}, {"main_measure": "nDCD@10"}):
        with pytest.raises(InputError):
            StudyConfig(**{"evaluate_on": ["x"], **options})
    config = StudyConfig(evaluate_on=[str(beir_folder)])
    for options in ({"development": DevelopmentConfig(train_share=0.5)}, {"pairs": PairsConfig(stages="finetune")}):
        with pytest.raises(InputError, match="sets stages and train_share itself"):
            run_study(MODELS, beir_folder, tmp_path / "out", config, **options)
    assert not (tmp_path / "out").exists()
    assert main(["study", "--data", str(beir_folder), "--evaluate-on", "x", "--output-dir", str(tmp_path / "o")]) == 2
    assert "MODELS is missing" in capsys.readouterr().err
