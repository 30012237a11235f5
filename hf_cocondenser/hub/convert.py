"""A checkpoint of the original authors' code, rewritten as one of ours with its tokenizer."""

from __future__ import annotations

from pathlib import Path

from hf_cocondenser.hub.checkpoint import load_tokenizer
from hf_cocondenser.hub.export import require_fitting
from hf_cocondenser.modeling_condenser import CondenserForPreTraining
from hf_cocondenser.utils.files import output_folder, require_new_folder


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
    model = CondenserForPreTraining.from_original(folder, skip_from, late_mlm)
    loaded = load_tokenizer(folder if tokenizer is None else tokenizer)
    require_fitting(loaded, model.get_backbone())
    with output_folder(output_dir, overwrite) as partial:
        model.save_pretrained(partial)
        loaded.save_pretrained(partial)
    return output_dir
