"""Checkpoints of the original authors' code: the same loss, and one sentence for whatever is wrong with them."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from transformers import BertConfig, BertForMaskedLM, RobertaConfig, RobertaForMaskedLM
from transformers.models.bert.modeling_bert import BertLayer

from hf_cocondenser import CondenserForPreTraining, InputError
from hf_cocondenser.cli.main import main
from hf_cocondenser.hub.convert import read_original_checkpoint
from tests.families import random_batch
from tests.hub.conftest import train_tokenizer

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}


class Original(nn.Module):
    """The original authors' model by the equations: `lm` and `c_head`, saved as they saved them."""

    def __init__(self, layers: int = 4, head_layers: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        config = BertConfig(**SIZES, num_hidden_layers=layers, attn_implementation="eager")
        self.lm = BertForMaskedLM(config)
        self.c_head = nn.ModuleList([BertLayer(config) for _ in range(head_layers)])
        self.lm.init_weights()
        self.c_head.apply(self.lm._init_weights)
        for parameter in self.parameters():  # LayerNorms and biases too must have something to lose
            parameter.data += 0.05 * torch.randn_like(parameter)
        self.eval()

    def loss(self, batch: dict, skip_from: int, late_mlm: bool) -> torch.Tensor:
        """Cross-entropy through the head, and from the last layer."""
        mask = batch["attention_mask"]
        states = self.lm.bert(batch["input_ids"], attention_mask=mask, output_hidden_states=True)
        late, early = states.last_hidden_state, states.hidden_states[skip_from]
        hidden = torch.cat([late[:, :1], early[:, 1:]], dim=1)
        bias = torch.zeros(mask.shape).masked_fill(mask == 0, torch.finfo(torch.float32).min)[:, None, None, :]
        for layer in self.c_head:
            hidden = layer(hidden, bias)
        parts = [hidden, late] if late_mlm else [hidden]
        labels = batch["labels"].flatten()
        return sum(F.cross_entropy(self.lm.cls(part).flatten(0, 1), labels, ignore_index=-100) for part in parts)

    def save(self, folder: Path, *, prefix: str = "", safetensors: bool = False, old_names: bool = False) -> None:
        """Write config.json, the MLM's weights and `model.pt`, in one of the shapes that are about."""
        folder.mkdir()
        self.lm.config.save_pretrained(folder)
        weights = {prefix + name: value.clone() for name, value in self.lm.state_dict().items()}
        weights[f"{prefix}bert.embeddings.position_ids"] = torch.arange(64)[None]
        weights[f"{prefix}bert.pooler.dense.weight"] = torch.zeros(32, 32)
        head = {f"c_head.{name}": value for name, value in self.c_head.state_dict().items()}
        head["co_target"] = torch.arange(64)
        if old_names:
            names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
            weights = {_renamed(name, names): value for name, value in weights.items()}
        if safetensors:
            save_file(weights, folder / "model.safetensors")
        else:
            torch.save(weights, folder / "pytorch_model.bin")
        torch.save(head, folder / "model.pt")


def _renamed(name: str, names: dict[str, str]) -> str:
    for new, old in names.items():
        name = name.replace(new, old)
    return name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound original checkpoint."""
    Original().save(tmp_path / "original")
    return tmp_path / "original"


@pytest.mark.parametrize("prefix", ["", "lm."])
@pytest.mark.parametrize("safetensors", [False, True])
@pytest.mark.parametrize("old_names", [False, True])
def test_every_shape_gives_the_loss_of_the_source(prefix, safetensors, old_names, tmp_path):
    original = Original()
    original.save(tmp_path / "original", prefix=prefix, safetensors=safetensors, old_names=old_names)
    batch = random_batch(original.lm.config)
    inputs = (batch["input_ids"], batch["attention_mask"], batch["labels"])
    for skip_from, late_mlm in ((2, True), (1, False)):
        model = read_original_checkpoint(tmp_path / "original", skip_from, late_mlm)
        expected = original.loss(batch, skip_from, late_mlm)
        torch.testing.assert_close(model(*inputs).loss, expected, rtol=1e-5, atol=1e-5)
        model.save_pretrained(tmp_path / "ours")
        again = CondenserForPreTraining.from_pretrained(tmp_path / "ours")
        torch.testing.assert_close(again(*inputs).loss, expected, rtol=1e-5, atol=1e-5)
        assert again.mlm_head.cls.predictions.decoder.weight is again.get_input_embeddings().weight


def test_old_checkpoints_leave_tied_weights_out_and_bring_the_next_sentence_head(folder):
    path = folder / "pytorch_model.bin"
    weights = {k: v for k, v in torch.load(path, weights_only=True).items() if "predictions.decoder" not in k}
    torch.save(weights | {"cls.seq_relationship.weight": torch.zeros(2, 32)}, path)
    original, batch = Original(), random_batch(Original().lm.config)
    model = read_original_checkpoint(folder, skip_from=2)
    loss = model(batch["input_ids"], batch["attention_mask"], batch["labels"]).loss
    torch.testing.assert_close(loss, original.loss(batch, 2, True), rtol=1e-5, atol=1e-5)


def test_head_layers_are_counted_and_early_layers_are_told(tmp_path):
    Original(layers=3, head_layers=1).save(tmp_path / "original")
    model = read_original_checkpoint(tmp_path / "original", skip_from=1)
    assert (model.config.n_head_layers, model.config.skip_from, model.config.late_mlm) == (1, 1, True)
    with pytest.raises(InputError, match="skip_from is 6, but the backbone has 3 layers"):
        read_original_checkpoint(tmp_path / "original")


class Malice:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def _malicious(folder: Path) -> None:
    with (folder / "model.pt").open("wb") as file:
        pickle.dump({"c_head.0.x": Malice(folder / "owned")}, file)


def _malicious_weights(folder: Path) -> None:
    torch.save({"bert.x": Malice(folder / "owned")}, folder / "pytorch_model.bin")


def _no_head(folder: Path) -> None:
    (folder / "model.pt").unlink()


def _no_weights(folder: Path) -> None:
    (folder / "pytorch_model.bin").unlink()


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _bad_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _cut_head(folder: Path) -> None:
    (folder / "model.pt").write_bytes((folder / "model.pt").read_bytes()[:1000])


def _empty_head(folder: Path) -> None:
    (folder / "model.pt").write_bytes(b"")


def _garbage(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"\x00garbage" * 50)


def _bad_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"garbage" * 50)


def _headless_head(folder: Path) -> None:
    torch.save({"co_target": torch.arange(4)}, folder / "model.pt")


def _list_for_weights(folder: Path) -> None:
    torch.save([torch.zeros(3)], folder / "model.pt")


def _not_tensors(folder: Path) -> None:
    torch.save({"c_head.0.x": "text"}, folder / "model.pt")


def _half_a_head(folder: Path) -> None:
    head = torch.load(folder / "model.pt", weights_only=True)
    torch.save({k: v for k, v in head.items() if "attention" not in k}, folder / "model.pt")


def _unknown_head_weight(folder: Path) -> None:
    head = torch.load(folder / "model.pt", weights_only=True)
    torch.save(head | {"c_head.0.adapter.weight": torch.zeros(3)}, folder / "model.pt")


def _other_width(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 64}))


def _no_mlm(folder: Path) -> None:
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save({k: v for k, v in weights.items() if not k.startswith("cls.")}, folder / "pytorch_model.bin")


def _roberta(folder: Path) -> None:
    RobertaForMaskedLM(RobertaConfig(**SIZES, num_hidden_layers=4)).save_pretrained(folder)


@pytest.mark.parametrize(
    "damage, message",
    [
        (_malicious, r"model\.pt' cannot be read as weights"),
        (_malicious_weights, r"pytorch_model\.bin' cannot be read as weights"),
        (_no_head, r"lacks model\.pt, the Condenser head.*from_backbone"),
        (_no_weights, "not an original checkpoint"),
        (_no_config, "not an original checkpoint"),
        (_bad_config, r"config\.json"),
        (_cut_head, r"model\.pt' cannot be read as weights"),
        (_empty_head, r"model\.pt' cannot be read as weights"),
        (_garbage, r"pytorch_model\.bin' cannot be read as weights"),
        (_bad_safetensors, r"model\.safetensors' cannot be read as weights"),
        (_headless_head, "holds no Condenser head"),
        (_list_for_weights, r"model\.pt' .*tensors"),
        (_not_tensors, r"model\.pt' .*tensors"),
        (_half_a_head, "lacks or has unknown weights"),
        (_unknown_head_weight, "lacks or has unknown weights"),
        (_other_width, "do not fit its config.json"),
        (_no_mlm, "lacks or has unknown weights"),
        (_roberta, "'roberta' checkpoint; original heads are read for BERT"),
    ],
)
def test_what_cannot_be_converted_is_one_sentence(damage, message, folder, tmp_path):
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        read_original_checkpoint(folder, skip_from=2)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    assert not (folder / "owned").exists(), "code from a pickle was run"


def test_command_converts_and_export_takes_the_result(folder, tmp_path, capsys):
    train_tokenizer().save_pretrained(folder)
    target = tmp_path / "ours"
    arguments = ["convert", str(folder), "--output-dir", str(target), "--skip-from", "2", "--no-late-mlm"]
    assert main(arguments) == 0
    model = CondenserForPreTraining.from_pretrained(target)
    assert (model.config.skip_from, model.config.late_mlm) == (2, False)
    assert main(["export", str(target), "--output-dir", str(tmp_path / "retriever")]) == 0
    assert main(arguments) == 2
    assert "already exists" in capsys.readouterr().err


def test_command_refuses_in_one_sentence_and_leaves_nothing(folder, tmp_path, capsys):
    arguments = ["convert", str(folder), "--output-dir", str(tmp_path / "ours"), "--skip-from", "2"]
    assert main(arguments) == 2
    assert "(tokenizer.json) are missing" in capsys.readouterr().err
    _malicious(folder)
    assert main(arguments) == 2
    assert main(["convert", str(tmp_path / "nowhere"), "--output-dir", str(tmp_path / "ours")]) == 2
    assert "nowhere" in capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["original"]
