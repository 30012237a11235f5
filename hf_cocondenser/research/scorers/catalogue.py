"""The scorers by name: made fresh, or read from a folder."""

from __future__ import annotations

from pathlib import Path

from hf_cocondenser.errors import InputError
from hf_cocondenser.research.scorers.base import MODEL, SETTINGS, Scorer
from hf_cocondenser.research.scorers.coil import COIL
from hf_cocondenser.research.scorers.colbert import ColBERT
from hf_cocondenser.research.scorers.dense import DenseScorer
from hf_cocondenser.research.scorers.me_bert import MEBERT
from hf_cocondenser.research.scorers.poly_encoder import PolyEncoder
from hf_cocondenser.retrieval.retriever import load_retriever
from hf_cocondenser.utils.files import read_json
from hf_cocondenser.utils.loading import loading

TRAINED_HERE: dict[str, type[Scorer]] = {cls.kind: cls for cls in (ColBERT, MEBERT, PolyEncoder, COIL)}


def load_scorer(folder: str | Path, device: str | None = None) -> Scorer:
    """Read a scorer that `Scorer.save` wrote, or a retriever, which scores by its one vector.

    Args:
        folder: the scorer's, or the one that `scorers` trained it in (`models/NAME`).
        device: where to put it.

    Raises:
        InputError: the folder holds neither.
    """
    path = Path(folder)
    if (path / MODEL / SETTINGS).is_file():
        path = path / MODEL
    if not (path / SETTINGS).is_file():
        return DenseScorer.from_retriever(load_retriever(folder, device=device))
    record = read_json(path / SETTINGS)
    cls = TRAINED_HERE.get(record.get("scorer"))
    if cls is None:
        raise InputError(f"'{path / SETTINGS}' names no scorer among {', '.join(TRAINED_HERE)}.")
    with loading("The scorer", path):
        scorer = cls(cls.load_encoder(path, device), **record["settings"])
        scorer.load_own_weights(path)
    return scorer.eval()
