"""The RocketQA recipe: a cross-encoder of its own, negatives it has judged and others that fill up, step by step."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer

from hf_cocondenser.cli.main import main
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.config import MiningConfig
from hf_cocondenser.finetuning.finetune import finetune
from hf_cocondenser.finetuning.negatives.cross_encoder import load_cross_encoder
from hf_cocondenser.finetuning.negatives.pools import choose_negatives, read_pool
from hf_cocondenser.finetuning.negatives.train_cross_encoder import (
    cross_encoder_report,
    labelled_pairs,
    train_cross_encoder,
)
from hf_cocondenser.finetuning.recipes import finetune_options, recipe_settings
from hf_cocondenser.finetuning.retriever_start import load_starting_point
from hf_cocondenser.retrieval.collections.collection import RetrievalData
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data

pytestmark = pytest.mark.slow

TINY = {
    "max_steps": 3,
    "per_device_train_batch_size": 16,
    "eval_steps": 1,
    "bf16": False,
    "cross_encoder_epochs": 0.5,
    "cross_encoder_batch_size": 16,
    "cross_encoder_length": 40,
    "cross_encoder_depth": 60,
    "denoise_depth": 10,
    "mine_depth": 30,
}


@pytest.fixture(scope="module")
def finished(backbone_folder: Path, beir_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe by the command line, with unlabelled queries; every score of the untaught cross-encoder passes or none does."""
    folder = tmp_path_factory.mktemp("rocketqa")
    unlabelled = folder / "queries.txt"
    unlabelled.write_text("".join(f"w{i} w{i + 1}\n" for i in range(0, 60, 6)))
    command = ["finetune", str(backbone_folder), "--recipe", "rocketqa", "--data", str(beir_folder)]
    flags = [part for name, value in TINY.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    labels = ["--unlabelled-queries", str(unlabelled), "--negative-below", "0.25", "--positive-above", "0.25"]
    assert main([*command, *flags, *labels, "--output-dir", str(folder / "out")]) == 0
    return folder / "out"


def manifest(folder: Path, step: str) -> dict:
    return json.loads((folder / "steps" / step / "manifest.json").read_text())


def test_the_steps_and_the_report(finished: Path, beir_folder: Path):
    summary = json.loads((finished / "finetuning.json").read_text())
    assert list(summary["steps"]) == ["bm25", "round1", "cross_encoder", "mined", "labelled", "round2"]
    assert (
        summary["finetuning"]["passage_length"] == 128 and summary["finetuning"]["per_device_train_batch_size"] == 16
    )
    trained = summary["steps"]["cross_encoder"]
    data = load_retrieval_data(beir_folder, "train")
    # 4 negatives for each of 64 queries; 6 queries are left out, of which some have two relevant documents.
    assert trained["counts"]["kept"] == 4 * 64 and 6 * 5 <= trained["held_out_pairs"] <= 6 * 6
    counts = summary["steps"]["mined"]["counts"]
    dropped = [counts.get(name, 0) for name in ("relevant", "equal_text", "cross_encoder_doubts", "not_drawn", "kept")]
    assert counts["candidates"] == 30 * 64 == sum(dropped)
    assert counts["kept"] == 4 * 64 and "filled_without_score" in counts
    assert manifest(finished, "mined")["inputs"]["cross_encoder"] == f"trained, {trained['model_hash']}"
    labelled = summary["steps"]["labelled"]["counts"]["labelled"]
    assert summary["steps"]["round2"]["training_queries"] == 64 + labelled
    pool = read_pool(finished / "steps" / "mined" / "negatives.jsonl")
    assert not any(set(pool[query]) & set(data.qrels[query]) for query in pool)
    assert SentenceTransformer(str(finished)).encode(["w1"]).shape == (1, 32)


def test_the_cross_encoder_stands_by_itself(finished: Path):
    model = CrossEncoder(str(finished / "steps" / "cross_encoder" / "model"), device="cpu")
    assert model.num_labels == 1 and model.tokenizer.model_max_length == 40
    assert not list((finished / "steps" / "cross_encoder").rglob("*.bin"))
    assert model.predict([("w1", "w2")]).shape == (1,)


def test_it_goes_on_after_the_step_that_was_lost(
    finished: Path, backbone_folder: Path, beir_folder: Path, tmp_path: Path
):
    folder = tmp_path / "out"
    shutil.copytree(finished, folder)
    for step in ("cross_encoder", "mined"):
        shutil.rmtree(folder / "steps" / step)
    unlabelled = str(finished.parent / "queries.txt")
    thresholds = {"negative_below": 0.25, "positive_above": 0.25}
    options = {**TINY, "unlabelled_queries": unlabelled, **thresholds}
    before = manifest(folder, "round1")
    finetune(backbone_folder, beir_folder, folder, recipe="rocketqa", **options)
    assert manifest(folder, "round1") == before
    for name in ("steps/mined/negatives.jsonl", "steps/cross_encoder/model/model.safetensors", "model.safetensors"):
        assert (folder / name).read_bytes() == (finished / name).read_bytes()
    with pytest.raises(InputError, match=r"cross_encoder_epochs: 0\.5 before, 1\.0 now"):
        finetune(backbone_folder, beir_folder, folder, recipe="rocketqa", **options | {"cross_encoder_epochs": 1.0})


def test_what_denoising_leaves_is_filled_up_from_behind():
    corpus = {f"n{i}": f"passage number {i}" for i in range(30)} | {"p": "the answer"}
    run = {"q": {"p": 99.0, **{f"n{i}": 50.0 - i for i in range(30)}}}
    asked = []

    def cross_encoder(pairs):
        asked.extend(text for _, text in pairs)
        return np.array([0.05 if text.endswith(("1", "3")) else 0.5 for _, text in pairs])

    def choose(seed: int, **options):
        config = MiningConfig(cross_encoder="given", **options)
        return choose_negatives(
            run,
            {"q": "what"},
            corpus,
            {"q": ["p"]},
            depth=26,
            number=4,
            seed=seed,
            sampling="top",
            config=config,
            cross_encoder=cross_encoder,
        )

    pool, counts = choose(0, denoise_depth=6)
    assert asked == [f"passage number {i}" for i in range(5)]  # the first six, the answer among them
    assert pool["q"][:2] == ["n1", "n3"] and len(set(pool["q"])) == 4
    assert {"n5", "n26"} - set(pool["q"]) and all(5 <= int(name[1:]) < 25 for name in pool["q"][2:])
    assert any(choose(seed, denoise_depth=6)[0] != pool for seed in range(1, 5))
    assert counts["cross_encoder_doubts"] == 3 and counts["filled_without_score"] == 2
    assert counts["candidates"] == 26 == 1 + 3 + counts["not_drawn"] + counts["kept"]
    without, counts = choose(0)
    assert without["q"] == ["n1", "n3", "n11", "n13"] and "filled_without_score" not in counts


def test_a_trained_cross_encoder_tells_what_it_was_taught(backbone_folder: Path, beir_folder: Path, tmp_path: Path):
    """Queries and passages that share words belong together, on queries it has not seen as well."""
    data = load_retrieval_data(beir_folder, "train")
    relevant = data.relevant()
    others = {query: [f"d{(int(query[1:].split('-')[0]) + 7) % 24}-0"] for query in relevant}
    sizes = {"cross_encoder_epochs": 12, "cross_encoder_learning_rate": 2e-3, "cross_encoder_batch_size": 16}
    args, mining, *_ = finetune_options("rocketqa", **sizes, dropout=0.0, bf16=False, seed=1)
    start = load_starting_point(backbone_folder, args)
    _, left_out = train_cross_encoder(start, data, others, tmp_path, mining, args)
    training, again = labelled_pairs(data, others, 1)
    assert again == left_out and not {pair["query"] for pair in left_out} & {pair["query"] for pair in training}
    scorer = load_cross_encoder(str(tmp_path / "model"))
    scores = scorer([(pair["query"], pair["passage"]) for pair in training])
    labels = np.array([pair["label"] for pair in training])
    assert scores[labels == 1].mean() > scores[labels == 0].mean() + 0.2


def test_the_report_on_pairs_it_has_not_seen():
    labels = np.array([1.0, 1.0, 0.0, 0.0, 0.0])
    report = cross_encoder_report(np.array([0.95, 0.05, 0.01, 0.5, 0.02]), labels, MiningConfig())
    assert report == {
        "held_out_pairs": 5,
        "negatives_kept": 0.6667,
        "positives_taken_for_negatives": 0.5,
        "positives_recognised": 0.5,
    }


def test_settings_that_are_given_win():
    args, mining, *_ = finetune_options("rocketqa", per_device_train_batch_size=7, mine_negatives=9)
    assert (args.per_device_train_batch_size, mining.mine_negatives, mining.denoise_depth) == (7, 9, 50)
    assert recipe_settings("rocketqa", processes=8)["per_device_train_batch_size"] == 512


@pytest.mark.parametrize(
    "options, said",
    [
        ({"denoise_depth": 0}, "denoise_depth is 0; it must be at least 1"),
        ({"denoise_depth": 5, "cross_encoder": None}, "name a cross_encoder, or 'train'"),
        ({"cross_encoder_negatives": 0}, "cross_encoder_negatives is 0; it must be at least 1"),
        ({"cross_encoder_length": 3}, "it must be at least 5"),
    ],
)
def test_options_out_of_range(options: dict, said: str):
    with pytest.raises(InputError, match=said):
        finetune_options("rocketqa", **options)


def test_no_cross_encoder_of_a_t5_encoder(t5_folder: Path, beir_folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match="cannot be made of a t5 encoder; name another with cross_encoder_start"):
        finetune(t5_folder, beir_folder, tmp_path / "out", recipe="rocketqa", **TINY)
    assert not list((tmp_path / "out" / "steps").iterdir())  # before any work


def test_too_few_queries_for_a_cross_encoder():
    data = RetrievalData("one", "train", {"p": "a", "n": "b"}, {"q": "c"}, {"q": {"p": 1}})
    with pytest.raises(InputError, match="1 queries to train a cross-encoder on"):
        labelled_pairs(data, {"q": ["n"]}, 0)
