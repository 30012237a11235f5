"""Pushing to and loading from a small Hub on this machine, with the real client."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import constants

from hf_cocondenser import CondenserForPreTraining
from hf_cocondenser.cli.main import main
from hf_cocondenser.hub.export import save_retriever
from tests.hub.conftest import TEXTS, run_without_package
from tests.hub.small_hub import TOKEN, small_hub


@pytest.fixture
def hub(monkeypatch):
    """A Hub, and this process's client turned to it (a user sets HF_ENDPOINT, which is read once, at import)."""
    with small_hub() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield running


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command in `tmp_path`; returns its status and its last line."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> tuple[int, str]:
        status = main(list(argv))
        output = capsys.readouterr()
        return status, (output.err if status else output.out).splitlines()[-1]

    return run


def test_export_pushes_what_everybody_and_those_who_continue_can_load(hub, run, checkpoint, tmp_path):
    flags = ["--output-dir", "mine", "--with-condenser", "--push-to-hub", "me/tiny", "--private"]
    status, line = run("export", str(checkpoint), *flags)
    assert status == 0 and line.startswith(f"Published: {hub.url}/me/tiny/commit/")
    assert hub.repos["me/tiny"]["private"] and len(hub.repos["me/tiny"]["branches"]["main"]) == 2
    files = hub.files("me/tiny")
    assert files["model.safetensors"] == (tmp_path / "mine" / "model.safetensors").read_bytes()
    assert {"condenser/config.json", "condenser/model.safetensors", "README.md", "modules.json"} <= set(files)
    assert b'SentenceTransformer("me/tiny")' in files["README.md"]

    code = f"""
import torch
from transformers import AutoModel
from sentence_transformers import SentenceTransformer
retriever = SentenceTransformer("me/tiny")
assert AutoModel.from_pretrained("me/tiny").config.model_type == "bert"
torch.save(torch.tensor(retriever.encode({TEXTS!r})), "vectors.pt")

del sys.modules["hf_cocondenser"]  # from here on with the package
from hf_cocondenser import CondenserForPreTraining
from hf_cocondenser.cli.main import main
model, info = CondenserForPreTraining.from_pretrained("me/tiny", subfolder="condenser", output_loading_info=True)
assert not info["missing_keys"], info
model.save_pretrained("pulled")
assert main(["export", "me/tiny", "--output-dir", "again"]) == 0
"""
    run_without_package(code, tmp_path, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0")
    from sentence_transformers import SentenceTransformer

    expected = torch.tensor(SentenceTransformer(str(tmp_path / "mine"), device="cpu").encode(TEXTS))
    torch.testing.assert_close(torch.load(tmp_path / "vectors.pt"), expected, rtol=0, atol=1e-6)
    pulled = CondenserForPreTraining.from_pretrained(tmp_path / "pulled").state_dict()
    original = CondenserForPreTraining.from_pretrained(checkpoint).state_dict()
    assert all(torch.equal(value, pulled[name]) for name, value in original.items())
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_publish_leaves_the_way_there_out_and_hides_paths(hub, run, checkpoint, tmp_path):
    folder = save_retriever(checkpoint, tmp_path / "mine")
    for name in (
        "steps/round1/model.safetensors",
        "checkpoint-5/optimizer.pt",
        "runs/x",
        ".cache/y",
        "mine/thesis.txt",
    ):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("not for others")
    secret = tmp_path / "secret"
    secret.mkdir()
    mining = {name: str(secret / name) for name in ("cross_encoder", "cross_encoder_start", "unlabelled_queries")}
    record = {"checkpoint": str(checkpoint), "data": {"name": "toy", "training_queries": 5}}
    (folder / "finetuning.json").write_text(json.dumps(record | {"finetuning": {"epochs": 3}, "mining": mining}))
    assert run("publish", "mine", "--repo", "me/tuned", "--condenser", str(checkpoint))[0] == 0
    files = hub.files("me/tuned")
    assert not [name for name in files if name.split("/")[0] in ("steps", "checkpoint-5", "runs", ".cache", "mine")]
    assert "condenser/model.safetensors" in files
    assert json.loads(files["finetuning.json"])["checkpoint"] == f"{checkpoint.name} (a local checkpoint)"
    everything = b"".join(files.values())
    assert str(checkpoint).encode() not in everything and b"secret/" not in everything
    assert b"base_model:" not in files["README.md"]  # a folder's name may be that of somebody's repository


def test_publish_makes_the_branch_it_commits_to(hub, run, checkpoint, tmp_path):
    save_retriever(checkpoint, tmp_path / "mine")
    for _ in range(2):
        assert run("publish", "mine", "--repo", "me/branched", "--revision", "trial")[0] == 0
    branches = hub.repos["me/branched"]["branches"]
    assert len(branches["trial"]) == 3 and "modules.json" in branches["trial"][-1]
    assert branches["main"] == [{}]


def test_cards_name_the_repository_unless_somebody_edited_them(hub, run, checkpoint, tmp_path):
    folder = save_retriever(checkpoint, tmp_path / "mine")
    before = (folder / "README.md").read_bytes()
    assert run("publish", "mine", "--repo", "me/card")[0] == 0
    card = hub.files("me/card")["README.md"].decode()
    assert '"me/card"' in card and '"mine"' not in card and "# card\n" in card
    assert (folder / "README.md").read_bytes() == before
    (folder / "README.md").write_bytes(before + b"\nMy own words.\n")
    assert run("publish", "mine", "--repo", "me/card")[0] == 0
    assert hub.files("me/card")["README.md"] == before + b"\nMy own words.\n"
    assert len(hub.repos["me/card"]["branches"]["main"]) == 3


def test_a_card_that_nobody_edited_is_renewed_wherever_the_folder_went(hub, run, checkpoint, tmp_path):
    """Written for a repository, renamed, and published from elsewhere with figures: they must get into the card."""
    assert run("export", str(checkpoint), "--output-dir", "mine", "--push-to-hub", "me/first")[0] == 0
    (tmp_path / "mine").rename(tmp_path / "other")
    (tmp_path / "figures").mkdir()
    figures = [{"dataset": "toy (test)", "measures": {"nDCG@10": 0.5}, "queries": 3, "system": ""}]
    (tmp_path / "figures" / "results.json").write_text(json.dumps(figures))
    assert run("publish", "other", "--repo", "me/second", "--results", "figures")[0] == 0
    card = " ".join(hub.files("me/second")["README.md"].decode().split())
    assert "| toy (test) | 3 |" in card and '"me/second"' in card and "me/first" not in card


def write_beir(folder: Path) -> None:
    """Ten documents, each found by its own words."""
    (folder / "qrels").mkdir(parents=True)
    words = ["harbour", "letter", "rain", "night", "light", "vector", "query", "passage", "keeper", "retrieval"]
    documents = [{"_id": f"d{i}", "title": "", "text": f"{word} {word} the old"} for i, word in enumerate(words)]
    queries = [{"_id": f"q{i}", "text": word} for i, word in enumerate(words)]
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = "".join(f"q{i}\td{i}\t1\n" for i in range(len(words)))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)


@pytest.mark.parametrize("name", ["mine", "BM25", "hybrid (of mine)"])
def test_figures_of_an_evaluation_go_into_the_card(name, hub, run, checkpoint, tmp_path):
    save_retriever(checkpoint, tmp_path / "mine")
    write_beir(tmp_path / "toy")
    measured = ["evaluate", "mine", "--data", "toy", "--hybrid", "--output-dir", "figures", "--name", name]
    assert main(measured) == 0
    assert run("publish", "mine", "--repo", "me/measured", "--results", "figures")[0] == 0
    report = json.loads((tmp_path / "figures" / "results.json").read_text())["data_sets"]["toy"]["systems"]
    card = [" ".join(line.split()) for line in hub.files("me/measured")["README.md"].decode().splitlines()]
    lines = [line for line in card if "| toy (test) | 10 |" in line]
    assert len(lines) == 3 and sum("| this model |" in line for line in lines) == 1
    figures = next(value["means"] for value in report.values() if value["kind"] == "retriever")
    own = next(line for line in lines if "| this model |" in line)
    assert all(f" {value:.4f}" in own for value in figures.values())
    assert json.loads(hub.files("me/measured")["results.json"])[0]["dataset"] == "toy (test)"
    status, line = run("publish", "mine", "--repo", "me/measured", "--results", "toy")
    assert status == 2 and "holds no results.json" in line


def test_language_licence_and_data_sets_stand_in_the_card(hub, run, checkpoint, tmp_path):
    save_retriever(checkpoint, tmp_path / "mine")
    said = ["--language", "en", "de", "--license", "apache-2.0", "--datasets", "rajpurkar/squad"]
    assert run("publish", "mine", "--repo", "me/said", *said)[0] == 0
    header = yaml.safe_load(hub.files("me/said")["README.md"].decode().split("---")[1])
    assert (header["language"], header["license"], header["datasets"]) == (
        ["en", "de"],
        "apache-2.0",
        ["rajpurkar/squad"],
    )


def test_refusals_are_one_sentence_and_leave_no_half(hub, run, checkpoint, tmp_path, monkeypatch):
    save_retriever(checkpoint, tmp_path / "mine")
    to = ["--repo", "me/refused"]
    results = {
        "is not a retriever; write one": run("publish", str(checkpoint), *to),
        "not a/name!": run("publish", "mine", "--repo", "not a/name!"),
        "without a Condenser head": run("publish", "mine", *to, "--condenser", "mine"),
    }
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    results["401"] = run("publish", "mine", *to)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "me/refused" not in hub.repos
    hub.refuse = 400
    results["'me/refused' cannot be published"] = run("publish", "mine", *to)
    assert hub.files("me/refused") == {}
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    results["onnection refused"] = run("publish", "mine", *to)
    for words, (status, line) in results.items():
        assert status == 2 and line.startswith("hf-cocondenser publish: error: ") and words in line
