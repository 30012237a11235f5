"""Checkpoints of the original authors' code (a BERT-MLM file and a pickled `model.pt` head), rewritten as ours."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig

from hf_cocondenser.configuration_condenser import CondenserConfig
from hf_cocondenser.data.tokenizer import load_tokenizer
from hf_cocondenser.errors import InputError
from hf_cocondenser.modeling_condenser import CondenserForPreTraining
from hf_cocondenser.retrieval.retriever import require_fitting
from hf_cocondenser.utils.files import output_folder, require_new_folder

_LAYER_NORM = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


def convert_checkpoint(
    folder: str | Path,
    output_dir: str | Path,
    *,
    tokenizer: str | Path | None = None,
    skip_from: int = 6,
    late_mlm: bool = True,
    overwrite: bool = False,
) -> Path:
    """Write a pre-training checkpoint from what the original code saved.

    Args:
        folder: folder with config.json, pytorch_model.bin or model.safetensors, and model.pt.
        output_dir: folder to write the pre-training checkpoint to.
        tokenizer: folder or Hub name of the tokenizer (default: the checkpoint's own).
        skip_from: early layers the head was trained with; the original never stored it.
        late_mlm: it was trained with the late MLM; never stored either.
        overwrite: replace the output folder.

    Raises:
        InputError: the checkpoint or the tokenizer cannot be read, or something stands at `output_dir`.
    """
    output_dir = require_new_folder(output_dir, overwrite, reads=[folder, tokenizer])
    model = read_original_checkpoint(folder, skip_from, late_mlm)
    loaded = load_tokenizer(folder if tokenizer is None else tokenizer)
    require_fitting(loaded, model.get_backbone(), folder if tokenizer is None else tokenizer)
    with output_folder(output_dir, overwrite) as partial:
        model.save_pretrained(partial)
        loaded.save_pretrained(partial)
    return output_dir


def read_original_checkpoint(folder: str | Path, skip_from: int = 6, late_mlm: bool = True) -> CondenserForPreTraining:
    """Read what the original Condenser / coCondenser code saved, as a model of ours in evaluation mode.

    The folder holds config.json, `model.safetensors` or `pytorch_model.bin` (a BERT masked language model, keys bare
    or under `lm.`) and `model.pt` with the Condenser head as `c_head.{i}.*`. A `co_target` buffer, whose length is
    that of the old batch, is dropped. The number of head layers is read from the file; `skip_from` and `late_mlm`
    were never stored there.

    Raises:
        InputError: a file is missing or unreadable, weights are missing, or it is no such checkpoint.
    """
    folder = Path(folder)
    weights_file = next(
        (folder / n for n in ("model.safetensors", "pytorch_model.bin") if (folder / n).is_file()), None
    )
    head_file = folder / "model.pt"
    if weights_file is None or not (folder / "config.json").is_file():
        raise InputError(
            f"'{folder}' lacks config.json or pytorch_model.bin/model.safetensors: not an original checkpoint."
        )
    if not head_file.is_file():
        raise InputError(
            f"'{folder}' lacks model.pt, the Condenser head; to start with a fresh head use "
            f"`hf-cocondenser pretrain {folder}` or CondenserForPreTraining.from_backbone('{folder}')."
        )
    try:
        backbone_config = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"'{folder / 'config.json'}' cannot be read ({' '.join(str(error).split())}).") from None
    if backbone_config.model_type != "bert":
        raise InputError(
            f"'{folder}' is a '{backbone_config.model_type}' checkpoint; original heads are read for BERT."
        )
    pieces = _read_weights(weights_file) | _read_weights(head_file)
    weights: dict[str, Tensor] = {}
    for name, value in pieces.items():
        name = name.removeprefix("lm.")
        for old, new in _LAYER_NORM.items():
            name = name.replace(old, new)
        if name.startswith("c_head."):
            weights[f"head.encoder.layer.{name.removeprefix('c_head.')}"] = value
        elif name.startswith("bert.") and not name.startswith("bert.pooler.") and "position_ids" not in name:
            weights[f"condenser.backbone.{name.removeprefix('bert.')}"] = value
        elif name.startswith("cls.predictions."):
            weights[f"mlm_head.{name}"] = value
    head_layers = {int(match[1]) for name in weights if (match := re.match(r"head\.encoder\.layer\.(\d+)\.", name))}
    if not head_layers:
        raise InputError(f"'{head_file}' holds no Condenser head (no key begins with c_head).")
    config = CondenserConfig(backbone_config, n_head_layers=len(head_layers), skip_from=skip_from, late_mlm=late_mlm)
    model = CondenserForPreTraining(config)
    _fill(model, weights, folder)
    return model.eval()


def _read_weights(path: Path) -> dict[str, Tensor]:
    """Read safetensors, or a pickled state dict with nothing but tensors in it."""
    try:
        pieces = load_file(path) if path.suffix == ".safetensors" else _unpickle_tensors(path)
    except (RuntimeError, SafetensorError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"'{path}' cannot be read as weights ({reason}).") from None
    if not isinstance(pieces, dict) or not all(isinstance(value, Tensor) for value in pieces.values()):
        raise InputError(f"'{path}' cannot be read as weights (it holds something other than tensors by name).")
    return pieces


def _unpickle_tensors(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the pickle protocol
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError("damaged, or more than tensors, which could run code when it is unpickled") from None


def _fill(model: CondenserForPreTraining, weights: dict[str, Tensor], folder: Path) -> None:
    """Put the weights of `folder` into a model made by their configuration.

    Raises:
        InputError: weights are missing, unknown, or of other sizes.
    """
    tied = set(model.all_tied_weights_keys)
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise InputError(
            f"The weights in '{folder}' do not fit its config.json ({str(error).splitlines()[1].strip()})."
        ) from None
    wrong = [name for name in missing if name not in tied] + list(unexpected)
    if wrong:
        raise InputError(f"The checkpoint '{folder}' lacks or has unknown weights ({wrong[0]}, {len(wrong)} in all).")
