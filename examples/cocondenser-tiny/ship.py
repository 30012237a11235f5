"""Put a pre-training checkpoint into the package: half precision on disk, no code, no paths of this machine.

python examples/cocondenser-tiny/ship.py runs/tiny/cocondenser-2 hf_cocondenser/checkpoints/cocondenser-tiny \
    --average-with runs/tiny/cocondenser

--average-with takes the mean of both checkpoints' weights, which stays sensible where one was trained from the other
(WiSE-FT, arXiv 2109.01903, equation 1 at alpha 0.5): the later one knows its corpus, the earlier one other texts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import PreTrainedModel

from hf_cocondenser.files import output_folder, read_json, write_json
from hf_cocondenser.hub.loading import load_pretraining_checkpoint, load_tokenizer
from hf_cocondenser.hub.records import PRETRAINING, pretraining_without_paths


def average(model: PreTrainedModel, other: PreTrainedModel) -> None:
    """Make `model`'s parameters the mean of its own and `other`'s; ValueError where their names or shapes differ."""
    theirs = dict(other.named_parameters())
    mine = dict(model.named_parameters())
    if {name: p.shape for name, p in mine.items()} != {name: p.shape for name, p in theirs.items()}:
        raise ValueError("The two checkpoints have other parameters; average checkpoints of one training only.")
    with torch.no_grad():
        for name, parameter in mine.items():
            parameter.add_(theirs[name]).div_(2)


def main() -> None:
    """Write it anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--average-with", type=Path, help="an earlier checkpoint of the same training")
    parser.add_argument(
        "--dtype", default="float16", choices=["float16", "float32"], help="on disk (default: float16)"
    )
    options = parser.parse_args()
    model = load_pretraining_checkpoint(options.checkpoint, dtype=torch.float32)
    record = pretraining_without_paths(read_json(options.checkpoint / PRETRAINING))
    if options.average_with:
        average(model, load_pretraining_checkpoint(options.average_with, dtype=torch.float32))
        record["averaged_with"] = options.average_with.name
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
