"""Any checkpoint as a retriever: nothing made up, nothing that depends on the neighbours, one sentence for the rest."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2Model,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    XLNetConfig,
    XLNetModel,
)

import hf_cocondenser
from hf_cocondenser import checkpoint_path
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.negatives.cross_encoder import load_cross_encoder
from hf_cocondenser.finetuning.retriever_start import load_starting_point
from hf_cocondenser.hub.layout import save_portable
from hf_cocondenser.retrieval.encode import Encoder
from hf_cocondenser.retrieval.retriever import as_retriever, fingerprint, is_retriever, load_retriever
from hf_cocondenser.retrieval.similarity import choose_similarity

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
SHORT = "whales sing"
LONG = "bread is baked from a dough of flour and water usually with yeast"


def _change_weights(folder: Path, change) -> Path:
    weights = load_file(folder / "model.safetensors")
    save_file(
        {new: v for name, v in weights.items() if (new := change(name))},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    return folder


@pytest.fixture
def plain(make_retriever, tmp_path: Path) -> Path:
    """The encoder of a retriever without modules.json."""
    folder = tmp_path / "plain"
    shutil.copytree(make_retriever(), folder)
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (folder / name).unlink()
    return folder


def write_model(model, tokenizer_file: Path, folder: Path, **changes) -> Path:
    """A plain checkpoint with the toy tokenizer."""
    model.save_pretrained(folder)
    PreTrainedTokenizerFast.from_pretrained(tokenizer_file).save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | changes))
    return folder


DAMAGE = {
    "another prefix": lambda name: f"module.{name}",
    "a missing block": lambda name: None if "layer.1." in name else name,
    "adapters' names": lambda name: name.replace("query.weight", "query.base_layer.weight"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_missing_weights_are_an_error_wherever_a_model_is_loaded(damage, make_retriever, plain, tmp_path):
    retriever = tmp_path / "retriever"
    shutil.copytree(make_retriever(), retriever)
    _change_weights(retriever, damage)
    _change_weights(plain, damage)
    for load in (load_retriever, lambda folder: load_starting_point(folder, RetrieverTrainingArguments())):
        with pytest.raises(InputError, match=r"lacks \d+ of its weights"):
            load(retriever)
    with pytest.raises(InputError, match=r"lacks \d+ of its weights"):
        load_starting_point(plain, RetrieverTrainingArguments())
    with pytest.raises(InputError, match=r"lacks \d+ of its weights"):
        load_cross_encoder(str(plain))


def test_a_plain_encoder_is_no_cross_encoder(plain, tokenizer_file, tmp_path):
    with pytest.raises(InputError, match=r"lacks .* of its weights \(bert\.pooler|classifier"):
        load_cross_encoder(str(plain))
    torch.manual_seed(0)
    whole = write_model(
        BertForSequenceClassification(BertConfig(vocab_size=300, **SIZES, num_labels=1)),
        tokenizer_file,
        tmp_path / "ce",
    )
    pairs = [("whales", SHORT), ("whales", LONG)]
    np.testing.assert_array_equal(load_cross_encoder(str(whole))(pairs), load_cross_encoder(str(whole))(pairs))


@pytest.mark.parametrize("lost", [["tokenizer.json"], ["tokenizer.json", "tokenizer_config.json"]])
def test_a_missing_tokenizer_is_not_made_up(lost, make_retriever, plain, tmp_path):
    retriever = tmp_path / "retriever"
    shutil.copytree(make_retriever(), retriever)
    for folder in (retriever, plain):
        for name in lost:
            (folder / name).unlink()
    for load in (load_retriever, lambda folder: load_starting_point(folder, RetrieverTrainingArguments())):
        with pytest.raises(InputError, match=r"\(tokenizer\.json\) are missing"):
            load(retriever)
    with pytest.raises(InputError, match=r"\(tokenizer\.json\) are missing"):
        load_starting_point(plain, RetrieverTrainingArguments())


def test_no_other_call_loads_a_model():
    """`load_whole` is where missing weights are found; only configurations, tokenizers and Condensers are loaded beside it."""
    root = Path(hf_cocondenser.__file__).parent
    calls = re.compile(
        r"(?<![\w.])(\w+)\.from_pretrained\(|\b(SentenceTransformer|CrossEncoder|MultiVectorEncoder)\((?!\))"
    )
    found = {
        (path.relative_to(root).as_posix(), match[1] or match[2])
        for path in root.rglob("*.py")
        if path.name != "modeling_condenser.py"  # looks for missing weights itself
        for line in path.read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith((">>>", "#")) and "`" not in line and "'{" not in line
        for match in calls.finditer(line)
    }
    allowed = {"AutoConfig", "AutoTokenizer", "CondenserForPreTraining"}
    made_of_modules = {("research", "MultiVectorEncoder"), ("retrieval", "SentenceTransformer")}
    assert {(path.split("/")[0], name) for path, name in found if name not in allowed} == made_of_modules


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_half_precision_with_a_projection(dtype, precision, make_retriever, tmp_path):
    folder = make_retriever(pooling="mean", dense=16)
    reference = SentenceTransformer(str(folder), device="cpu")
    reference.to(dtype).save_pretrained(str(tmp_path / "half"), create_model_card=False)
    expected = reference.float().encode([SHORT, LONG])
    encoder = Encoder(load_retriever(tmp_path / "half", device="cpu"), precision=precision)
    parameters = {parameter.dtype for parameter in encoder.model[0].parameters()}
    assert parameters == {getattr(torch, precision)} and encoder.precision == precision
    np.testing.assert_allclose(encoder.encode([SHORT, LONG]), expected, atol=1e-6 if precision == "float32" else 0.1)
    in_memory = Encoder(SentenceTransformer(str(tmp_path / "half"), device="cpu"), precision=precision)
    np.testing.assert_array_equal(in_memory.encode([SHORT, LONG]), encoder.encode([SHORT, LONG]))


DECODERS = {
    "llama": LlamaModel(LlamaConfig(vocab_size=300, **SIZES, max_position_embeddings=64)),
    "gpt2": GPT2Model(GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=64)),
    "bert": BertModel(BertConfig(vocab_size=300, **SIZES, is_decoder=True), add_pooling_layer=False),
}


@pytest.mark.parametrize("family", DECODERS)
def test_a_decoder_gives_its_last_token(family, tokenizer_file, tmp_path, caplog):
    changes = {"padding_side": "left", "pad_token": None, "eos_token": "[SEP]"}
    folder = write_model(DECODERS[family], tokenizer_file, tmp_path / family, **changes)
    with caplog.at_level("INFO"):
        model = load_starting_point(folder, RetrieverTrainingArguments(bf16=False)).to("cpu")
    assert model[1].pooling_mode == "lasttoken" and "gets lasttoken pooling" in caplog.text
    vectors = model.encode([SHORT, LONG])
    assert abs(vectors[0] - vectors[1]).max() > 1e-3
    np.testing.assert_allclose(model.encode([SHORT])[0], vectors[0], atol=1e-5)
    with pytest.raises(InputError, match="is a decoder"):
        load_starting_point(folder, RetrieverTrainingArguments(pooling="cls"))


def test_a_tokenizer_without_any_token_to_pad_with(tokenizer_file, tmp_path):
    none = dict.fromkeys(("pad_token", "eos_token", "unk_token"))
    folder = write_model(DECODERS["gpt2"], tokenizer_file, tmp_path / "gpt2", **none)
    with pytest.raises(InputError, match="no padding token"):
        load_starting_point(folder, RetrieverTrainingArguments())


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_left_padding_does_not_make_vectors_depend_on_their_neighbours(pooling, make_retriever, tmp_path):
    folder = tmp_path / "retriever"
    shutil.copytree(make_retriever(pooling=pooling), folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"padding_side": "left"}))
    own = SentenceTransformer(str(folder), device="cpu")
    for model in (
        own,
        load_retriever(folder, device="cpu"),
        load_starting_point(folder, RetrieverTrainingArguments()),
    ):
        encoder = Encoder(model, precision="float32")
        np.testing.assert_allclose(encoder.encode([SHORT])[0], encoder.encode([SHORT, LONG])[0], atol=1e-5)
    assert own.tokenizer.padding_side == "left", "the caller's model stays as it was"


def test_the_fingerprint_sees_the_configuration(make_retriever, tmp_path):
    folder = tmp_path / "retriever"
    shutil.copytree(make_retriever(), folder)
    before = fingerprint(load_retriever(folder))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    assert fingerprint(load_retriever(folder)) != before
    (folder / "config.json").write_text(json.dumps(config | {"transformers_version": "5.0.0"}))
    assert fingerprint(load_retriever(folder)) == before


def test_normalised_and_truncated_vectors_are_not_of_length_1(make_retriever):
    model = load_retriever(make_retriever(similarity="cosine", normalize=True), device="cpu")
    assert choose_similarity(model, "dot") == "dot"
    model.truncate_dim = 16
    with pytest.raises(InputError, match="was made for 'cosine'"):
        choose_similarity(model, "dot")


def test_untied_encoders_keep_the_settings_of_the_retriever(make_retriever, tmp_path):
    model = SentenceTransformer(
        str(make_retriever()), truncate_dim=16, prompts={"web": "w "}, default_prompt_name="web"
    )
    model.save_pretrained(str(tmp_path / "retriever"), create_model_card=False)
    untied = load_starting_point(tmp_path / "retriever", RetrieverTrainingArguments(untied=True))
    assert (untied.truncate_dim, untied.default_prompt_name, untied.prompts["web"]) == (16, "web", "w ")


@pytest.mark.parametrize("untied", [False, True])
def test_lower_casing_survives(untied, make_retriever, tmp_path):
    """BERT's own tokenizer builds its rules anew whenever it is loaded."""
    folder = tmp_path / "retriever"
    shutil.copytree(make_retriever(), folder)
    path = folder / "sentence_bert_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_lower_case": True}))
    model = load_starting_point(folder, RetrieverTrainingArguments(untied=untied))
    save_portable(model, tmp_path / "again")
    settings = [json.loads(file.read_text()) for file in (tmp_path / "again").rglob("sentence_bert_config.json")]
    assert len(settings) == 1 + untied and all(each["do_lower_case"] for each in settings)


def test_a_long_text_does_not_leave_the_positions(tokenizer_file, tmp_path):
    config = RobertaConfig(vocab_size=300, **SIZES, max_position_embeddings=66)
    folder = write_model(RobertaModel(config), tokenizer_file, tmp_path / "roberta", model_max_length=10**30)
    model = SentenceTransformer(str(folder), device="cpu")
    model.save_pretrained(str(tmp_path / "retriever"))
    loaded = load_retriever(tmp_path / "retriever", device="cpu")
    assert loaded.max_seq_length == 64
    loaded.encode([LONG * 20])


def test_relative_positions_have_no_end(tokenizer_file, tmp_path):
    model = XLNetModel(XLNetConfig(vocab_size=300, d_model=32, n_layer=2, n_head=2, d_inner=64))
    folder = write_model(model, tokenizer_file, tmp_path / "xlnet")
    loaded = load_starting_point(folder, RetrieverTrainingArguments(passage_length=300))
    assert loaded[0].document_length == 300 and loaded[1].pooling_mode == "lasttoken"


def test_a_tokenizer_larger_than_the_embeddings(make_retriever, plain, tmp_path):
    retriever = tmp_path / "retriever"
    shutil.copytree(make_retriever(), retriever)
    for folder, load in (
        (retriever, load_retriever),
        (plain, lambda f: load_starting_point(f, RetrieverTrainingArguments())),
    ):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.add_tokens([f"qq{n}" for n in range(300)])
        tokenizer.save_pretrained(folder)
        with pytest.raises(InputError, match="entries but the encoder only 300"):
            load(folder)


def test_a_condenser_checkpoint_is_searched_with_its_cls(tmp_path):
    from tests.hub.conftest import make_model, train_tokenizer

    make_model().save_pretrained(tmp_path / "condenser")
    train_tokenizer().save_pretrained(tmp_path / "condenser")
    model = load_retriever(tmp_path / "condenser", device="cpu")
    assert model[1].pooling_mode == "cls" and model.similarity_fn_name == "dot"


def test_adapters_are_merged_into_an_export(tmp_path):
    peft = pytest.importorskip("peft")
    from hf_cocondenser.hub.export import save_retriever
    from tests.hub.conftest import make_model, train_tokenizer

    condenser = make_model()
    condenser.add_adapter(peft.LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False))
    tokenizer = train_tokenizer()
    batch = tokenizer(["the lighthouse keeper"], return_tensors="pt")
    expected = condenser(batch["input_ids"], batch["attention_mask"]).cls
    folder = save_retriever(condenser, tmp_path / "export", tokenizer=tokenizer)
    model, info = AutoModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    torch.testing.assert_close(model(**batch).last_hidden_state[:, 0], expected, atol=1e-5, rtol=1e-5)
    assert any("lora" in name for name, _ in condenser.named_parameters()), "the caller's model stays as it was"


def test_adapters_of_a_retriever_are_merged_and_their_base_is_whole(plain, make_retriever, tmp_path):
    peft = pytest.importorskip("peft")
    model = SentenceTransformer(str(plain), device="cpu")
    model.add_adapter(peft.LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False))
    model.similarity_fn_name = "dot"
    model.save_pretrained(str(tmp_path / "adapted"), create_model_card=False)
    assert (tmp_path / "adapted" / "adapter_config.json").is_file()
    loaded = load_retriever(tmp_path / "adapted", device="cpu")
    np.testing.assert_allclose(loaded.encode([SHORT, LONG]), model.encode([SHORT, LONG]), atol=1e-5)
    save_portable(loaded, tmp_path / "merged")
    again = load_retriever(tmp_path / "merged", device="cpu")
    np.testing.assert_allclose(again.encode([SHORT, LONG]), model.encode([SHORT, LONG]), atol=1e-5)
    _change_weights(plain, DAMAGE["a missing block"])
    with pytest.raises(InputError, match=r"lacks \d+ of its weights"):
        load_retriever(tmp_path / "adapted", device="cpu")


def test_loading_leaves_transformers_as_it_was(make_retriever):
    before = CrossEncoder, BertModel.from_pretrained.__func__
    load_retriever(make_retriever())
    assert BertModel.from_pretrained.__func__ is before[1]
    as_retriever(make_retriever(), similarity="cosine")
    assert BertModel.from_pretrained.__func__ is before[1]


def test_a_checkpoint_that_sentence_transformers_saved_is_a_retriever(tmp_path):
    """It has the Condenser's configuration, but no head any more; in memory it is the plain encoder again."""
    given = SentenceTransformer(str(checkpoint_path("cocondenser-tiny")), device="cpu")
    given.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    assert is_retriever(tmp_path / "saved") and not is_retriever("cocondenser-tiny")
    model = load_retriever(tmp_path / "saved", device="cpu")
    assert model.similarity_fn_name == "dot"
    assert model[0].auto_model.config.model_type == "bert"
    np.testing.assert_allclose(model.encode(["a whale"]), given.encode(["a whale"]), rtol=1e-4, atol=1e-4)
