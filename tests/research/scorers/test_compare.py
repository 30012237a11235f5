"""Training scorers and comparing them, from the command line: what is learned, written, done again and refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer

from hf_cocondenser.cli.main import main
from hf_cocondenser.errors import InputError
from hf_cocondenser.evaluation.measures import evaluate_run
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.training_set import TrainingSet
from hf_cocondenser.research.scorers.base import Scorer
from hf_cocondenser.research.scorers.compare import compare_scorers
from hf_cocondenser.research.scorers.config import SCORERS, ScorersConfig
from hf_cocondenser.research.scorers.kinds import TRAINED_HERE, load_scorer
from hf_cocondenser.research.scorers.scoring import DocumentVectors, search_exactly
from hf_cocondenser.research.scorers.training import contrastive_loss, relevant_elsewhere, train_scorer
from hf_cocondenser.retrieval.bm25 import BM25Index
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data
from hf_cocondenser.retrieval.runs import ranked, read_run, write_run

pytestmark = pytest.mark.slow

ARGS = {
    "max_steps": 3,
    "per_device_train_batch_size": 8,
    "bf16": False,
    "query_length": 16,
    "passage_length": 32,
}
TINY = {"depth": 20, "rocketqa_epochs": 0.5}
FLAGS = [part for name, value in {**ARGS, **TINY}.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def test_the_loss_leaves_out_what_is_relevant_elsewhere():
    scores = torch.tensor([[2.0, 1.0, 0.5, -1.0], [0.0, 3.0, 1.0, 2.0]])
    # Query 0: positive 10, negative 12, also relevant 11; query 1: positive 11, negative 10 (relevant to query 0).
    labels = torch.tensor([[10, 12, 11], [11, 10, -1]])
    assert relevant_elsewhere(labels, 2, 4).tolist() == [[False, True, False, True], [False, False, False, False]]
    first = torch.log_softmax(torch.tensor([2.0, 0.5]) / 0.5, dim=0)[0]
    second = torch.log_softmax(torch.tensor([0.0, 3.0, 1.0, 2.0]) / 0.5, dim=0)[1]
    torch.testing.assert_close(contrastive_loss(scores, labels, 0.5), -(first + second) / 2)


@pytest.mark.parametrize("kind", TRAINED_HERE)
def test_training_teaches(make_scorer: Callable[..., Scorer], beir_folder: Path, tmp_path: Path, kind: str):
    """Words of one topic stand for each other only after training: in the collection a query is words of its topic."""
    data = load_retrieval_data(beir_folder, "train")
    queries, corpus = data.queries, data.corpus

    def quality(scorer: Scorer) -> float:
        run, _ = search_exactly(scorer, queries, DocumentVectors.encode(scorer, corpus), 20)
        return evaluate_run(data.qrels, run, ["nDCG@10"])[0]["nDCG@10"]

    before = quality(make_scorer(kind))
    config = RetrieverTrainingArguments(
        max_steps=80, per_device_train_batch_size=16, learning_rate=2e-3, bf16=False, eval_strategy="no"
    )
    training_set = TrainingSet(queries, corpus, data.relevant(), [], 1, seed=1)
    result = train_scorer(make_scorer(kind), training_set, tmp_path, config)
    trained = load_scorer(tmp_path / "model")
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in log if "loss" in line]
    assert result["steps"] == 80 and losses[-1] < losses[0]
    assert quality(trained) > before + 0.05


@pytest.fixture(scope="module")
def finished(backbone_folder: Path, beir_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared") / "out"
    command = ["scorers", str(backbone_folder), "--data", str(beir_folder), "--output-dir", str(folder), *FLAGS]
    assert main(command) == 0
    return folder


def test_the_table(finished: Path, beir_folder: Path):
    comparison = json.loads((finished / "comparison.json").read_text())
    rows = comparison["rows"]
    assert [row["name"] for row in rows[1:]] == [name for name in SCORERS for _ in range(2)]
    assert rows[0]["name"].startswith("BM25") and {row["ranked"] for row in rows[1:]} == {
        "BM25's first 20",
        "the corpus",
    }
    text = (finished / "comparison.md").read_text()
    test = load_retrieval_data(beir_folder, "test")
    for row in rows:
        low, high = row["intervals"]["nDCG@10"]
        assert low <= row["means"]["nDCG@10"] <= high
        assert f"{row['means']['nDCG@10']:.4f} [{low:.3f}, {high:.3f}]" in text
        assert row["milliseconds_per_query"] > 0 and row["bytes_per_document"] > 0
    sizes = {row["name"]: row["bytes_per_document"] for row in rows}
    assert (
        sizes["dense"]
        == sizes["dpr"]
        == sizes["rocketqa"]
        == sizes["poly-encoder"]
        == 4 * 32
        < sizes["me-bert"]
        < sizes["colbert"]
    )
    run = read_run(finished / "runs" / "coil" / "exact.trec")
    coil = next(row for row in rows if row["name"] == "coil" and row["ranked"] == "the corpus")
    assert evaluate_run(test.qrels, run, ["nDCG@10"])[0]["nDCG@10"] == pytest.approx(coil["means"]["nDCG@10"])
    # However few candidates are scored again, the corpus is ranked as deep as the measures look.
    deep = BM25Index.build(test.corpus).search(test.queries, 100)
    assert rows[0]["means"]["Recall@100"] == pytest.approx(
        evaluate_run(test.qrels, deep, ["Recall@100"])[0]["Recall@100"]
    )
    assert all(len(hits) == 100 for hits in run.values())
    assert isinstance(load_scorer(finished / "models" / "coil"), TRAINED_HERE["coil"])
    assert {row["timed_on"] for row in rows} == {f"{torch.get_num_threads()} threads"}
    again = read_run(finished / "runs" / "colbert" / "rescored.trec")
    assert {q: set(hits) for q, hits in again.items()} == {q: set(dict(ranked(h, 20))) for q, h in deep.items()}
    assert (finished / "report" / "report.html").is_file()


def test_a_training_that_diverged_is_told_and_not_kept(backbone_folder: Path, beir_folder: Path, tmp_path: Path):
    config = ScorersConfig(**TINY, scorers=["coil"])
    args = RetrieverTrainingArguments(**ARGS, learning_rate=1e30)
    for _ in range(2):
        with pytest.raises(InputError, match="The training of coil diverged"):
            compare_scorers(backbone_folder, beir_folder, tmp_path / "out", config, args)
    assert not (tmp_path / "out" / "models" / "coil").exists()


def test_dense_is_finetune_and_dpr_is_untied(finished: Path):
    dense, dpr = (SentenceTransformer(str(finished / "models" / name), device="cpu") for name in ("dense", "dpr"))
    for model, tied in ((dense, True), (dpr, False)):
        query, document = (encode(["w1 w2"]) for encode in (model.encode_query, model.encode_document))
        assert bool(abs(query - document).max() < 1e-6) == tied
    for name in ("dense", "dpr", "rocketqa"):
        drawn, own = finished / "negatives", finished / "models" / name / "steps" / "bm25"
        assert (own / "negatives.jsonl").read_bytes() == (drawn / "negatives.jsonl").read_bytes()
        assert (own / "manifest.json").stat().st_mtime_ns == (drawn / "manifest.json").stat().st_mtime_ns  # not twice


def test_rocketqa_is_the_recipe(finished: Path):
    summary = json.loads((finished / "models" / "rocketqa" / "finetuning.json").read_text())
    assert list(summary["steps"]) == ["bm25", "round1", "cross_encoder", "mined", "round2"]
    assert summary["mining"]["denoise_depth"] == 50 and summary["mining"]["round2_negatives"] == "mined"
    assert summary["finetuning"]["per_device_train_batch_size"] == ARGS["per_device_train_batch_size"]


def test_nothing_is_done_twice_and_a_lost_scorer_alone_is_done_again(
    finished: Path, backbone_folder: Path, beir_folder: Path, tmp_path: Path
):
    folder = tmp_path / "out"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "models" / "coil")
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("[mr]*/*/manifest.json")}
    assert len(kept) == 3 + 8
    before = (folder / "comparison.json").read_bytes()
    args = RetrieverTrainingArguments(**ARGS)
    compare_scorers(backbone_folder, beir_folder, folder, ScorersConfig(**TINY), args)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # the new coil is the old one, so is its run
    assert (folder / "comparison.json").read_bytes() == before
    with pytest.raises(InputError, match="max_steps: 3 before, 4 now"):
        compare_scorers(backbone_folder, beir_folder, folder, ScorersConfig(**TINY), args.changed(max_steps=4))


def test_another_runs_candidates_and_fewer_queries(backbone_folder: Path, beir_folder: Path, tmp_path: Path):
    test = load_retrieval_data(beir_folder, "test")
    write_run(tmp_path / "mine.trec", {query: {"d0-0": 2.0, "d1-1": 1.0} for query in test.queries})
    options = {
        **TINY,
        "candidates": str(tmp_path / "mine.trec"),
        "scorers": ["coil"],
        "test_queries": 5,
        "train_share": 0.5,
    }
    config, args = ScorersConfig(**options, exact_pairs=0), RetrieverTrainingArguments(**ARGS)
    text = compare_scorers(backbone_folder, beir_folder, tmp_path / "out", config, args)
    assert "5 queries" in text and "mine's first 20" in text and text.count("| coil") == 1
    run = read_run(tmp_path / "out" / "runs" / "coil" / "rescored.trec")
    assert len((tmp_path / "out" / "negatives" / "negatives.jsonl").read_text().splitlines()) == 32
    assert len(run) == 5 and all(hits.keys() == {"d0-0", "d1-1"} for hits in run.values())


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--scorers", "dense", "splade"], "There is no scorer 'splade'; there are dense, dpr, rocketqa, colbert"),
        (["--coil-dimension", "0"], "--coil-dimension is 0; it must be at least 1"),
        (["--rocketqa-depth", "0"], "--rocketqa-depth is 0; it must be at least 1"),
        (["--train-share", "0"], "--train-share is 0.0; it must be above 0"),
        (["--batch-size", "0"], "--per-device-train-batch-size is 0; it must be at least 1"),
        (["--candidates", "nothing.trec"], "'nothing.trec' is not a run file"),
        (["--candidates", "{unknown}"], "names the document 'elsewhere'"),
        (["--data", "{empty}"], "is no data set in the layout of BEIR"),
        (["--output-dir", "{full}"], "already exists and is not empty"),
    ],
)
def test_bad_input(
    backbone_folder: Path, beir_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], flags, said
):
    places = {"unknown": tmp_path / "unknown.trec", "empty": tmp_path / "empty", "full": tmp_path / "full"}
    write_run(places["unknown"], {"q20-0": {"elsewhere": 1.0}})
    for name in ("empty", "full"):
        places[name].mkdir()
    (places["full"] / "mine.txt").write_text("mine")
    command = ["scorers", str(backbone_folder), "--data", str(beir_folder), "--output-dir", str(tmp_path / "out")]
    assert main([*command, *FLAGS, *(flag.format(**places) for flag in flags)]) == 2
    error = capfd.readouterr().err
    assert said in error and "Traceback" not in error
    assert not (tmp_path / "out").exists() and (places["full"] / "mine.txt").read_text() == "mine"
