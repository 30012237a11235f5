"""Put a pre-training checkpoint into the package: half precision on disk, no code, no paths of this machine.

python examples/cocondenser-tiny/ship.py runs/tiny/cocondenser hf_cocondenser/checkpoints/cocondenser-tiny
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import PreTrainedModel

from hf_cocondenser.files import output_folder, read_json, write_json
from hf_cocondenser.hub.loading import load_pretraining_checkpoint, load_tokenizer
from hf_cocondenser.hub.records import PRETRAINING, pretraining_without_paths


def main() -> None:
    """Write it anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output_dir", type=Path)
    options = parser.parse_args()
    model = load_pretraining_checkpoint(options.checkpoint, dtype=torch.float16)
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
        write_json(folder / PRETRAINING, pretraining_without_paths(read_json(options.checkpoint / PRETRAINING)))


if __name__ == "__main__":
    main()
