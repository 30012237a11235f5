"""Checkpoints inside this package, found by their names wherever a model is asked for, without network."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "checkpoints"


def checkpoint_path(name: str | Path) -> str | Path:
    """Where a model is: the folder in this package if `name` is that of a shipped checkpoint, else `name` itself.

    A file or folder of that name in the working directory goes first, as it does for names of the Hub.

    Example:
        >>> from transformers import AutoModel, AutoTokenizer
        >>> from hf_cocondenser import checkpoint_path
        >>> encoder = AutoModel.from_pretrained(checkpoint_path("cocondenser-tiny"))
        >>> tokenizer = AutoTokenizer.from_pretrained(checkpoint_path("cocondenser-tiny"))
    """
    if Path(name).exists() or Path(name).name != str(name):
        return name
    folder = _FOLDER / name
    return folder if (folder / "config.json").is_file() else name
