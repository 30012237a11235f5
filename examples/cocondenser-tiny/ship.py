"""Put a pre-training checkpoint into the package: half precision on disk, no code, no paths of this machine.

python examples/cocondenser-tiny/ship.py runs/tiny/cocondenser-2 hf_cocondenser/checkpoints/cocondenser-tiny \
    --average-with runs/tiny/cocondenser

--average-with takes the mean of all these checkpoints' weights (one that is named twice counts twice), which stays sensible
where one was trained from another (WiSE-FT, arXiv 2109.01903): the later one knows its corpus, the earlier one other texts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import PreTrainedModel

from hf_cocondenser.data.tokenizer import load_tokenizer
from hf_cocondenser.errors import InputError
from hf_cocondenser.hub.records import PRETRAINING, pretraining_without_paths
from hf_cocondenser.utils.checkpoint import load_pretraining_checkpoint
from hf_cocondenser.utils.files import output_folder, read_json, write_json


def average(model: PreTrainedModel, others: list[PreTrainedModel]) -> None:
    """Make `model`'s parameters the mean of its own and the others'; InputError where their names or shapes differ."""
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    with torch.no_grad():
        for other in others:
            theirs = dict(other.named_parameters())
            if {name: parameter.shape for name, parameter in theirs.items()} != shapes:
                raise InputError("The checkpoints are of different shapes; average checkpoints of one training only.")
            for name, parameter in model.named_parameters():
                parameter.add_(theirs[name])
        for parameter in model.parameters():
            parameter.div_(1 + len(others))


def main() -> None:
    """Write it anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--average-with", type=Path, nargs="+", default=[], help="others of the same training")
    parser.add_argument(
        "--dtype", default="float16", choices=["float16", "float32"], help="on disk (default: float16)"
    )
    options = parser.parse_args()
    model = load_pretraining_checkpoint(options.checkpoint, dtype=torch.float32)
    record = pretraining_without_paths(read_json(options.checkpoint / PRETRAINING))
    if options.average_with:
        try:
            average(model, [load_pretraining_checkpoint(other, dtype=torch.float32) for other in options.average_with])
        except InputError as error:
            parser.error(str(error))
        record["averaged_with"] = [other.name for other in options.average_with]
    model.to(getattr(torch, options.dtype))
    tokenizer = load_tokenizer(options.checkpoint)
    with output_folder(options.output_dir, overwrite=True) as folder:
        PreTrainedModel.save_pretrained(model, folder)
        for code in folder.glob("*.py"):  # this package is where it is loaded
            code.unlink()
        config = read_json(folder / "config.json")
        config.pop("auto_map", None)
        config["dtype"] = config["backbone_config"]["dtype"] = "float32"  # what it is loaded as
        write_json(folder / "config.json", config)
        tokenizer.save_pretrained(folder)
        write_json(folder / PRETRAINING, record)


if __name__ == "__main__":
    main()
