"""The headless export: everybody loads it, everybody gets the vectors of our own model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModel, PreTrainedTokenizerFast

from hf_cocondenser import CondenserForPreTraining, InputError
from hf_cocondenser.cli.main import main
from hf_cocondenser.hub.export import save_retriever
from tests.families import FAMILIES
from tests.hub.conftest import TEXTS, make_model, run_without_package, train_tokenizer


def vectors_of(folder: Path, max_length: int = 64) -> torch.Tensor:
    """The vectors of `TEXTS` by the pre-training model itself."""
    from transformers import AutoTokenizer

    model = CondenserForPreTraining.from_pretrained(folder).eval()
    batch = AutoTokenizer.from_pretrained(folder)(
        TEXTS, padding=True, truncation=True, max_length=max_length, return_tensors="pt"
    )
    with torch.no_grad():
        return model(batch["input_ids"], batch["attention_mask"]).cls


@pytest.fixture(scope="module")
def loaded_elsewhere(make_checkpoint, tmp_path_factory):
    """Every family exported, then loaded and encoded in one process that cannot import this package."""
    folder = tmp_path_factory.mktemp("exports")
    for family in FAMILIES:
        save_retriever(make_checkpoint(family), folder / family, max_length=60)
    code = f"""
import json, torch
from pathlib import Path
from transformers import AutoModel, AutoTokenizer
from sentence_transformers import SentenceTransformer
texts = {TEXTS!r}
found = {{}}
for folder in sorted(Path(".").iterdir()):
    if not (folder / "modules.json").is_file():
        continue
    model, info = AutoModel.from_pretrained(folder, output_loading_info=True)
    missing = [key for key in info["missing_keys"] if not key.startswith("pooler.")]
    assert not missing and not info["unexpected_keys"], info
    batch = AutoTokenizer.from_pretrained(folder)(texts, padding=True, truncation=True, max_length=60, return_tensors="pt")
    with torch.no_grad():
        plain = model.eval()(**batch).last_hidden_state[:, 0]
    retriever = SentenceTransformer(str(folder))
    assert getattr(retriever[0].auto_model, "pooler", None) is None
    scores = retriever.similarity(retriever.encode(texts[:1]), retriever.encode(texts[1:2]))
    torch.save([plain, torch.tensor(retriever.encode(texts)), scores], folder / "vectors.pt")
    found[folder.name] = [model.config.model_type, retriever.max_seq_length, retriever.similarity_fn_name]
print(json.dumps(found))
"""
    found = json.loads(run_without_package(code, folder))
    return {family: (found[family], torch.load(folder / family / "vectors.pt")) for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_everybody_gets_our_vectors(family, loaded_elsewhere, make_checkpoint):
    (model_type, max_length, similarity), (plain, encoded, scores) = loaded_elsewhere[family]
    assert (model_type, max_length, similarity) == (FAMILIES[family].model_type, 60, "dot")
    expected = vectors_of(make_checkpoint(family), 60)
    assert (expected[0] - expected[1]).abs().max() > 0.1, "the texts must differ for this test to mean anything"
    torch.testing.assert_close(plain, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(encoded, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(scores[0, 0], expected[0] @ expected[1], rtol=1e-5, atol=1e-5)


def test_only_the_plain_encoder_is_written(checkpoint, tmp_path):
    folder = save_retriever(checkpoint, tmp_path / "retriever")
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "bert" and config["architectures"] == ["BertModel"] and "auto_map" not in config
    with safe_open(folder / "model.safetensors", "pt") as weights:
        tops = {key.split(".")[0] for key in weights.keys()}  # noqa: SIM118 - not a mapping
    assert tops == {"embeddings", "encoder"}
    assert not list(folder.rglob("*.py")) and not list(folder.rglob("*.bin"))


def test_layout_is_the_one_that_servers_and_older_versions_read(checkpoint, tmp_path):
    folder = save_retriever(checkpoint, tmp_path / "retriever", max_length=40)
    modules = json.loads((folder / "modules.json").read_text())
    kinds = ["sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling"]
    assert [module["type"] for module in modules] == kinds
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    assert pooling["word_embedding_dimension"] == 32 and pooling["pooling_mode_cls_token"] is True
    assert not any(value for key, value in pooling.items() if key.startswith("pooling") and "cls" not in key)
    settings = json.loads((folder / "sentence_bert_config.json").read_text())
    assert settings["max_seq_length"] == 40
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"  # transformers 4 has no TokenizersBackend


def test_private_without_a_repository_is_refused(checkpoint, tmp_path, capsys):
    assert main(["export", str(checkpoint), "--output-dir", str(tmp_path / "mine"), "--private"]) == 2
    assert "name it with --push-to-hub" in capsys.readouterr().err and not (tmp_path / "mine").exists()


def test_similarity_and_prompts_are_recorded_and_used(checkpoint, tmp_path):
    from sentence_transformers import SentenceTransformer

    prompts = {"query": "rain: ", "document": ""}
    folder = save_retriever(checkpoint, tmp_path / "retriever", similarity="cosine", prompts=prompts)
    retriever = SentenceTransformer(str(folder), device="cpu")
    assert retriever.similarity_fn_name == "cosine"
    prompted, bare = retriever.encode_query(["harbour"]), retriever.encode_document(["rain: harbour"])
    assert abs(prompted - bare).max() < 1e-6
    assert abs(prompted - retriever.encode_document(["harbour"])).max() > 1e-2


@pytest.mark.parametrize("family, limit", [("bert", 64), ("roberta", 62), ("mpnet", 62), ("modernbert", 64)])
def test_longest_input_is_what_the_encoder_takes(family, limit, make_checkpoint, tmp_path):
    from sentence_transformers import SentenceTransformer

    folder = save_retriever(make_checkpoint(family), tmp_path / "retriever")
    retriever = SentenceTransformer(str(folder), device="cpu")
    assert retriever.max_seq_length == limit
    assert retriever.preprocess([TEXTS[-1]])["input_ids"].shape[1] == limit
    retriever.encode([TEXTS[-1]])
    with pytest.raises(InputError, match=f"from 3 to {limit} tokens"):
        save_retriever(make_checkpoint(family), tmp_path / "longer", max_length=limit + 1)


def test_models_in_memory_and_other_types(checkpoint, tmp_path):
    tokenizer = train_tokenizer()
    whole = save_retriever(make_model(), tmp_path / "whole", tokenizer=tokenizer)
    encoder = save_retriever(AutoModel.from_pretrained(checkpoint), tmp_path / "encoder", tokenizer=checkpoint)
    assert (whole / "model.safetensors").read_bytes() == (encoder / "model.safetensors").read_bytes()
    half = save_retriever(make_model().to(torch.bfloat16), tmp_path / "half", tokenizer=tokenizer)
    assert json.loads((half / "config.json").read_text())["dtype"] == "bfloat16"


def test_published_layout_holds_the_pretraining_checkpoint(checkpoint, tmp_path):
    folder = save_retriever(checkpoint, tmp_path / "retriever", with_condenser=True)
    model, info = CondenserForPreTraining.from_pretrained(folder, subfolder="condenser", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    original = CondenserForPreTraining.from_pretrained(checkpoint)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in original.state_dict().items())
    assert AutoModel.from_pretrained(folder).config.model_type == "bert"
    assert save_retriever(folder / "condenser", tmp_path / "again").is_dir()
    with pytest.raises(InputError, match="encoder alone"):
        encoder = AutoModel.from_pretrained(checkpoint)
        save_retriever(encoder, tmp_path / "alone", tokenizer=checkpoint, with_condenser=True)
    assert not (tmp_path / "alone").exists()


def test_the_other_areas_take_an_export(checkpoint, tmp_path):
    from hf_cocondenser.retrieval.retriever import load_retriever
    from hf_cocondenser.retrieval.similarity import choose_similarity

    assert choose_similarity(load_retriever(save_retriever(checkpoint, tmp_path / "retriever"), device="cpu")) == "dot"


class FullDisk(PreTrainedTokenizerFast):
    """A tokenizer whose saving fails, as on a full disk."""

    def save_pretrained(self, *args, **kwargs):
        raise OSError(28, "No space left on device")


def test_a_failure_leaves_nothing_half_written(tmp_path):
    target = tmp_path / "retriever"
    tokenizer = train_tokenizer()
    broken = FullDisk(tokenizer_object=tokenizer.backend_tokenizer, cls_token="[CLS]", pad_token="[PAD]")
    with pytest.raises(OSError, match="No space left"):
        save_retriever(make_model(), target, tokenizer=broken)
    assert list(tmp_path.iterdir()) == []
    save_retriever(make_model(), target, tokenizer=tokenizer)
    before = (target / "model.safetensors").read_bytes()
    with pytest.raises(OSError, match="No space left"):
        save_retriever(make_model(n_head_layers=1), target, tokenizer=broken, overwrite=True)
    assert (target / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["retriever"]


def test_command_exports(checkpoint, tmp_path, capsys):
    from sentence_transformers import SentenceTransformer

    target = tmp_path / "retriever"
    arguments = [
        "export",
        str(checkpoint),
        "--output-dir",
        str(target),
        "--max-length",
        "30",
        "--similarity",
        "cosine",
    ]
    assert main(arguments) == 0
    retriever = SentenceTransformer(str(target), device="cpu")
    assert (retriever.max_seq_length, retriever.similarity_fn_name) == (30, "cosine")
    assert main(arguments) == 2
    assert "already exists" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


def _plain(folder: Path) -> None:
    make_model().condenser.backbone.save_pretrained(folder)


def _corrupt(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def _garbage(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not safetensors")


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _bad_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _other_sizes(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["backbone_config"]["hidden_size"] = 64
    (folder / "config.json").write_text(json.dumps(config))


def _other_family(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["backbone_config"] = {"model_type": "gpt2", "n_layer": 4}
    (folder / "config.json").write_text(json.dumps(config))


def _no_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def _bad_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def _big_tokenizer(folder: Path) -> None:
    tokenizer = train_tokenizer()
    tokenizer.add_tokens([f"word{i}" for i in range(100)])
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(
    "damage, message",
    [
        (_plain, "'bert' checkpoint without a Condenser head"),
        (_corrupt, "are damaged"),
        (_garbage, "are damaged"),
        (_no_weights, "cannot be loaded"),
        (_bad_json, "cannot be loaded"),
        (_no_config, "no config.json"),
        (_other_sizes, "do not have the sizes"),
        (_other_family, "'gpt2' is not a supported encoder family"),
        (_no_tokenizer, "(tokenizer.json) are missing"),
        (_bad_tokenizer, "tokenizer"),
        (_big_tokenizer, "give the tokenizer it was pre-trained with"),
    ],
)
def test_bad_checkpoints_are_one_sentence_and_status_2(damage, message, checkpoint, tmp_path, capsys):
    folder, target = tmp_path / "checkpoint", tmp_path / "retriever"
    shutil.copytree(checkpoint, folder)
    damage(folder)
    capsys.readouterr()
    assert main(["export", str(folder), "--output-dir", str(target)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("hf-cocondenser export: error: ") and message in error
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--max-length", "2"], "from 3 to 64"),
        (["--max-length", "65"], "from 3 to 64"),
        (["--similarity", "euclidean"], "invalid choice: 'euclidean'"),
        (["--tokenizer", "nowhere/at-all"], "nowhere/at-all"),
    ],
)
def test_bad_flags_are_one_sentence_and_status_2(flags, message, checkpoint, tmp_path, capsys):
    assert main(["export", str(checkpoint), "--output-dir", str(tmp_path / "retriever"), *flags]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["nobody/nothing", "a name with spaces", "config.json"])
def test_checkpoints_that_are_not_there(name, checkpoint, tmp_path, capsys):
    name = str(checkpoint / name) if name == "config.json" else name
    assert main(["export", name, "--output-dir", str(tmp_path / "retriever")]) == 2
    assert name in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_the_condenser_of_a_published_repository_loads_without_the_package(checkpoint, tmp_path):
    """transformers looks for the code at the repository's root, whatever the `subfolder`."""
    folder = save_retriever(checkpoint, tmp_path / "retriever", with_condenser=True)
    code = f"""
from transformers import AutoModel, AutoModelForPreTraining
for auto in (AutoModel, AutoModelForPreTraining):
    model, info = auto.from_pretrained({str(folder)!r}, subfolder="condenser", trust_remote_code=True, output_loading_info=True)
    assert not info["missing_keys"], info
print(type(model).__name__, type(AutoModel.from_pretrained({str(folder)!r})).__name__)
"""
    assert run_without_package(code, tmp_path).split() == ["CondenserForPreTraining", "BertModel"]


def test_a_tokenizer_of_a_sentencepiece_file_alone_is_exported(tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    from transformers import AutoTokenizer

    (tmp_path / "text").write_text("\n".join(TEXTS))
    prefix = str(tmp_path / "sentencepiece.bpe")
    arguments = {"input": str(tmp_path / "text"), "model_prefix": prefix, "vocab_size": 45, "character_coverage": 1.0}
    sentencepiece.SentencePieceTrainer.train(**arguments, minloglevel=2)
    folder = tmp_path / "checkpoint"
    make_model("xlm-roberta").save_pretrained(folder)
    shutil.copyfile(f"{prefix}.model", folder / "sentencepiece.bpe.model")
    settings = {"tokenizer_class": "XLMRobertaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    exported = save_retriever(folder, tmp_path / "retriever")
    assert AutoTokenizer.from_pretrained(exported).tokenize(TEXTS[0]) == AutoTokenizer.from_pretrained(
        folder
    ).tokenize(TEXTS[0])
