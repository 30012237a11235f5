"""The GTR recipe: its modules and loss, the whole of it on a tiny collection, and what is refused."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling
from transformers import MT5Config, MT5EncoderModel, T5Config, T5ForConditionalGeneration
from transformers.optimization import Adafactor

from hf_cocondenser.backbones import set_dropout
from hf_cocondenser.cli.main import main
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.finetune import finetune
from hf_cocondenser.finetuning.loss import MaskedContrastiveLoss
from hf_cocondenser.finetuning.recipes import finetune_options, recipe_settings
from hf_cocondenser.finetuning.retriever_start import load_starting_point
from hf_cocondenser.finetuning.training import optimizer, prepare_training
from hf_cocondenser.retrieval.collections.protocols import PROTOCOLS, find_protocol
from hf_cocondenser.retrieval.encode import encode_texts
from hf_cocondenser.retrieval.similarity import protocol_lengths
from tests.finetuning import tolerance
from tests.launch import torchrun


def gtr(**options) -> RetrieverTrainingArguments:
    """The training arguments of GTR's recipe."""
    return finetune_options("gtr", **options).args


pytestmark = pytest.mark.slow

SMALL = {
    "projection": 24,
    "per_device_train_batch_size": 16,
    "max_steps": 12,
    "learning_rate": 1e-2,
    "eval_steps": 0.5,
    "bf16": False,
    "passage_length": 32,
}
MINING = {"bm25_depth": 30, "bm25_negatives": 6, "mine_depth": 20, "mine_negatives": 5}


def texts(rows: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{word}" for word in rng.integers(0, 200, rng.integers(2, 30))) for _ in range(rows)]


@pytest.fixture(scope="module")
def finished(t5_folder: Path, beir_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe by the command line: two rounds, a few steps each."""
    folder = tmp_path_factory.mktemp("gtr") / "retriever"
    options = [f"--{name.replace('_', '-')}={value}" for name, value in {**SMALL, **MINING}.items()]
    command = ["finetune", str(t5_folder), "--recipe", "gtr", "--data", str(beir_folder), "--output-dir", str(folder)]
    assert main([*command, *options]) == 0
    return folder


def test_the_recipe_gives_its_settings_and_flags_win(finished: Path):
    summary = json.loads((finished / "finetuning.json").read_text())
    settings = summary["finetuning"] | summary["mining"] | summary["development"]
    for name, value in {**recipe_settings("gtr", 1), **SMALL}.items():
        assert settings[name] == value, name
    assert settings["temperature"] == 0.01 and settings["directions"] == "sum" and settings["query_length"] == 64
    assert recipe_settings("gtr", 8)["per_device_train_batch_size"] * 8 == 2048


def test_the_layout_is_that_of_the_published_checkpoints(finished: Path):
    kinds = [module["type"] for module in json.loads((finished / "modules.json").read_text())]
    assert kinds == [
        f"sentence_transformers.models.{kind}" for kind in ("Transformer", "Pooling", "Dense", "Normalize")
    ]
    dense = json.loads((finished / "2_Dense" / "config.json").read_text())
    assert dense == {
        "in_features": 32,
        "out_features": 24,
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    assert json.loads((finished / "1_Pooling" / "config.json").read_text())["pooling_mode_mean_tokens"] is True
    assert json.loads((finished / "config_sentence_transformers.json").read_text())["similarity_fn_name"] == "cosine"
    assert not list(finished.rglob("*.bin"))
    assert "mean pooling, projected to 24 dimensions" in (finished / "README.md").read_text()


def test_everything_is_trained_the_projection_too(finished: Path, t5_folder: Path, tmp_path: Path):
    start = load_starting_point(t5_folder, gtr(**SMALL)).state_dict()
    after = SentenceTransformer(str(finished)).state_dict()
    assert start.keys() == after.keys()
    for name, weight in start.items():
        assert not torch.equal(weight, after[name]), name


def test_the_loss_falls(finished: Path):
    for name in ("round1", "round2"):
        log = [json.loads(line) for line in (finished / "steps" / name / "log.jsonl").read_text().splitlines()]
        losses = [line["loss"] for line in log if "loss" in line]
        assert np.mean(losses[-3:]) < np.mean(losses[:3])


WITHOUT_US = """
import json, sys
sys.modules["hf_cocondenser"] = None  # importing it fails from here on
import numpy as np
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
queries, documents = json.load(open("texts.json"))
np.save("queries.npy", model.encode_query(queries))
np.save("documents.npy", model.encode_document(documents))
assert not any(name.startswith("hf_cocondenser.") for name in sys.modules)
print(model.similarity_fn_name, len(model))
"""


def test_sentence_transformers_alone_gives_the_vectors_that_evaluation_used(finished: Path, tmp_path: Path):
    sample = [texts(6, 1), [*texts(6, 2), ""]]
    (tmp_path / "texts.json").write_text(json.dumps(sample))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", WITHOUT_US, str(finished)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["cosine", "4"]
    model = SentenceTransformer(str(finished), device="cpu")
    for kind, rows in zip(("query", "document"), sample, strict=True):
        name = "queries" if kind == "query" else "documents"
        expected = encode_texts(model, rows, kind=kind, precision="float32")
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected, atol=2e-6)
        np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)


def test_evaluate_takes_the_result_and_knows_its_similarity(finished: Path, beir_folder: Path, tmp_path: Path):
    command = ["evaluate", str(finished), "--data", str(beir_folder), "--output-dir", str(tmp_path / "report")]
    assert main([*command, "--precision", "float32"]) == 0
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert results["settings"]["similarity"] == "cosine"


def written_out(q: np.ndarray, p: np.ndarray, n: np.ndarray) -> float:
    """GTR's equations, sum by sum: q, p (B, d), n (B, m, d) unit vectors; temperature 0.01."""
    size, score = len(q), lambda a, b: math.exp(float(a @ b) / 0.01)
    forward = backward = 0.0
    for i in range(size):
        negatives = sum(score(q[i], vector) for vector in n.reshape(-1, q.shape[1]))
        forward -= math.log(score(q[i], p[i]) / (sum(score(q[i], p[j]) for j in range(size)) + negatives)) / size
        backward -= math.log(score(q[i], p[i]) / sum(score(q[j], p[i]) for j in range(size))) / size
    return forward + backward


@pytest.mark.parametrize("negatives", [0, 2])
def test_the_loss_is_the_equations(t5_folder: Path, tmp_path: Path, negatives: int):
    """In float64, cached and not: loss as written out, equal gradients, the mean over real tokens alone."""
    model = load_starting_point(t5_folder, gtr(**SMALL)).double()
    features = [model.preprocess(texts(6, seed)) for seed in range(2 + negatives)]
    vectors = [np.stack([by_hand(model, text) for text in texts(6, seed)]) for seed in range(2 + negatives)]
    hard = np.stack(vectors[2:], axis=1) if negatives else np.zeros((6, 0, 24))
    expected = written_out(vectors[0], vectors[1], hard)
    assert expected > 1
    results = []
    for cached in (False, True):
        model.zero_grad()
        loss = MaskedContrastiveLoss(model, 0.01, directions="sum", gradient_cache=cached, mini_batch_num_tokens=60)
        value = loss([dict(column) for column in features])
        value.backward()
        assert value.item() == pytest.approx(expected, rel=1e-10)
        results.append({name: p.grad.clone() for name, p in model.named_parameters()})
    for name, gradient in results[0].items():
        torch.testing.assert_close(gradient, results[1][name], **tolerance.cached(1e-8))
    assert results[0]["2.linear.weight"].abs().max() > 0


def by_hand(model: SentenceTransformer, text: str) -> np.ndarray:
    """One text without padding: mean of the encoder's last hidden states, times the projection, to length 1."""
    with torch.no_grad():
        ids = model.tokenizer(text, return_tensors="pt")["input_ids"]
        hidden = model[0].auto_model(input_ids=ids).last_hidden_state[0]
        vector = model[2].linear.weight @ hidden.mean(dim=0)
        return (vector / vector.norm()).numpy()


@pytest.mark.distributed
def test_two_processes_equal_one(t5_folder: Path, tmp_path: Path):
    """The recipe's loss over a global batch of 8: 2 gloo processes of 4 equal 1 of 8, with and without negatives."""
    load_starting_point(t5_folder, gtr(**SMALL)).double().save_pretrained(str(tmp_path / "model"))
    script = Path(__file__).with_name("two_processes.py")
    for processes in (1, 2):
        torchrun(processes, [script, tmp_path, "0.01"])
    one, two = (json.loads((tmp_path / f"{processes}.json").read_text()) for processes in (1, 2))
    assert one.keys() == two.keys() and len(one) == 4
    for setting in one:
        np.testing.assert_allclose(two[setting], one[setting], rtol=1e-8, atol=1e-10, err_msg=setting)
    assert one["sum cached"] != one["sum cached, no negatives"]


def test_a_published_layout_loads_and_continues(finished: Path, beir_folder: Path, tmp_path: Path):
    """What was trained goes on from its own projection, whatever `projection` says; fp16 weights train in float32."""
    model = SentenceTransformer(str(finished))
    model[0].half()
    model.save_pretrained(str(tmp_path / "published"))
    again = load_starting_point(tmp_path / "published", gtr(**{**SMALL, "projection": 768}))
    assert [type(module).__name__ for module in again] == ["Transformer", "Pooling", "Dense", "Normalize"]
    assert torch.equal(again[2].linear.weight, model[2].linear.weight)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    config = {**SMALL, "max_steps": 2, "rounds": 1, "eval_strategy": "no"}
    finetune(tmp_path / "published", beir_folder, tmp_path / "out", recipe="gtr", **config, **MINING)
    weights = load_file(tmp_path / "out" / "2_Dense" / "model.safetensors")["linear.weight"]
    assert weights.shape == (24, 32) and not torch.equal(weights, model[2].linear.weight)


def test_any_model_of_the_family(beir_folder: Path, t5_folder: Path, tmp_path: Path):
    """An encoder-decoder T5 1.1 (gated, as Flan-T5) gives its encoder; mT5 likewise."""
    shape = {"vocab_size": 205, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}
    flan = T5ForConditionalGeneration(T5Config(**shape, feed_forward_proj="gated-gelu", tie_word_embeddings=False))
    for name, model in (("flan", flan), ("mt5", MT5EncoderModel(MT5Config(**shape)))):
        model.save_pretrained(tmp_path / name)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            (tmp_path / name / file).write_bytes((t5_folder / file).read_bytes())
        loaded = load_starting_point(tmp_path / name, gtr(**SMALL))
        assert type(loaded[0].auto_model).__name__ in ("T5EncoderModel", "MT5EncoderModel")
        assert torch.equal(
            loaded[0].auto_model.get_input_embeddings().weight, model.get_input_embeddings().weight.detach()
        )
        assert loaded.encode(["w1 w2"]).shape == (1, 24)


def test_a_plain_t5_gets_mean_pooling_without_the_recipe_too(t5_folder: Path, backbone_folder: Path, tmp_path: Path):
    model = load_starting_point(t5_folder, RetrieverTrainingArguments())
    assert len(model) == 2 and isinstance(model[1], Pooling) and model[1].pooling_mode == "mean"
    bert = load_starting_point(backbone_folder, gtr(**SMALL))
    assert isinstance(bert[2], Dense) and isinstance(bert[3], Normalize) and bert[1].pooling_mode == "mean"


def test_no_dropout_means_none_in_attention_too(t5_folder: Path, tmp_path: Path):
    model = load_starting_point(t5_folder, gtr(**{**SMALL, "dropout": None}))
    features = model.preprocess(["w1 w2 w3 w4"])
    model.train()
    forward = lambda: model(dict(features))["sentence_embedding"]  # noqa: E731
    assert not torch.equal(forward(), forward())
    set_dropout(model[0].auto_model, 0.0)
    assert torch.equal(forward(), forward())


def test_adafactor_scales_its_steps_by_the_weights():
    cls, options = optimizer(gtr())
    assert cls is Adafactor and options["scale_parameter"] and not options["relative_step"]
    large, small = (torch.nn.Parameter(torch.full((4, 4), value)) for value in (10.0, 0.1))
    step = cls([large, small], **options)
    (large.sum() + small.sum()).backward()
    step.step()
    assert (10.0 - large[0, 0].item()) / (0.1 - small[0, 0].item()) == pytest.approx(100, rel=1e-3)
    assert optimizer(RetrieverTrainingArguments()) is None


def test_the_share_of_the_training_queries(t5_folder: Path, beir_folder: Path, tmp_path: Path):
    config = {**SMALL, "max_steps": 1, "rounds": 1, "eval_strategy": "no", "train_share": 0.25}
    summary = finetune(t5_folder, beir_folder, tmp_path / "out", recipe="gtr", **config, **MINING)
    assert summary["data"]["training_queries"] == 16  # of 64


def test_bfloat16_and_activation_checkpointing_give_nearly_the_same_gradient(t5_folder: Path, tmp_path: Path):
    """At temperature 0.01: checkpointing is exact, bf16 points the same way and stays finite with huge activations."""
    model = load_starting_point(t5_folder, gtr(**SMALL))
    features = [model.preprocess(texts(8, seed)) for seed in range(3)]

    def gradient(**autocast) -> torch.Tensor:
        model.zero_grad()
        model.train()
        loss = MaskedContrastiveLoss(model, 0.01, directions="sum", mini_batch_num_tokens=60)
        with torch.autocast("cpu", dtype=torch.bfloat16, **autocast):
            value = loss([dict(column) for column in features])
        value.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    exact = gradient(enabled=False)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    torch.testing.assert_close(gradient(enabled=False), exact, rtol=1e-4, atol=1e-5)
    rounded = gradient()
    assert torch.cosine_similarity(exact, rounded, dim=0) > 0.98
    with torch.no_grad():  # feed-forward sums far over float16's 65,504
        for block in model[0].auto_model.encoder.block:
            block.layer[-1].DenseReluDense.wo.weight.mul_(1e6)
    assert torch.isfinite(gradient()).all()


def test_lora_trains_adapters_and_the_projection(t5_folder: Path, beir_folder: Path, tmp_path: Path):
    pytest.importorskip("peft")
    config = {**SMALL, "max_steps": 2, "rounds": 1, "lora_rank": 2, "eval_steps": 1, "activation_checkpointing": True}
    finetune(t5_folder, beir_folder, tmp_path / "out", recipe="gtr", **config, **MINING)
    before = load_starting_point(t5_folder, gtr(**config)).state_dict()
    after = SentenceTransformer(str(tmp_path / "out")).state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert before.keys() == after.keys() and "2.linear.weight" in changed
    ours = changed - {"2.linear.weight"}
    assert ours and all(name.rsplit(".", 2)[-2] in ("q", "k", "v", "o", "wi", "wo") for name in ours)


def test_what_is_refused(t5_folder: Path, beir_folder: Path, tmp_path: Path, capsys):
    half = gtr()
    half.fp16, half.bf16 = True, False  # a CPU refuses it where it is asked for
    with pytest.raises(InputError, match=r"float16 overflows at the temperature 0.01 .*bfloat16"):
        half.require_safe(0.01)
    with pytest.raises(InputError, match="T5's feed-forward layers overflow float16"):
        prepare_training(load_starting_point(t5_folder, gtr()), 0.05, half)
    with pytest.raises(InputError, match="float16 trains on a GPU only"):
        gtr(fp16=True, use_cpu=True)
    for options in ({"projection": -1}, {"train_share": 0.0}, {"train_share": 1.5}):
        with pytest.raises(InputError, match=next(iter(options))):
            gtr(**options)
    command = ["finetune", str(t5_folder), "--data", str(beir_folder), "--output-dir", str(tmp_path / "o")]
    for options, words in (
        (["--recipe", "gtx"], "no recipe 'gtx'; there are gtr"),
        (["--recipe", "gtr", "--fp16", "--use-cpu"], "float16 trains on a GPU only"),
        (["--recipe"], "recipe"),
    ):
        assert main([*command, *options]) == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "o").exists()


def test_protocol_lengths(finished: Path, make_retriever, beir_folder: Path, tmp_path: Path):
    """T5 reads all of ArguAna's queries when asked to, a model of 64 positions its 64, and both what they did before."""
    long = [" ".join(f"w{i}" for i in range(150))]
    t5, bert = SentenceTransformer(str(finished)), make_retriever()
    for model, read in ((t5, 152), (bert, 64)):
        with protocol_lengths(model, PROTOCOLS["arguana"]):
            assert model.preprocess(long, task="query")["input_ids"].shape == (1, read)
        assert model.preprocess(long, task="query")["input_ids"].shape == (1, 64)
        with protocol_lengths(model, find_protocol("a collection of one's own")):
            assert model.preprocess(long, task="document")["input_ids"].shape[1] == (32 if model is t5 else 64)
    shutil.copytree(beir_folder, tmp_path / "arguana")
    command = ["evaluate", str(finished), "--data", str(tmp_path / "arguana"), "--no-bm25", "--precision", "float32"]
    assert main([*command, "--output-dir", str(tmp_path / "report"), "--protocol-lengths"]) == 0
    assert json.loads((tmp_path / "report" / "results.json").read_text())["settings"]["protocol_lengths"] is True
