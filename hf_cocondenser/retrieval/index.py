"""FAISS indexes by factory string, tied to the retriever and corpus whose vectors they hold."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from tqdm.auto import tqdm

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.topk import Matrix, normalized
from hf_cocondenser.utils.files import output_folder, read_json, write_json
from hf_cocondenser.utils.records import require_unchanged, write_record

logger = logging.getLogger(__name__)

FORMAT = 1
_MANIFEST = {"factory": str, "dimension": int, "rows": int, "cosine": bool, "source": dict}
_BLOCK = 65536  # rows added at a time
_TRAINING_ROWS = 262144
_SPREAD = 0.05  # of the vectors' lengths, standard deviation by mean
_RESCORED = 10  # candidates per hit that a compressed index gives for exact re-scoring


@dataclass
class FaissIndex:
    """An inner-product index over the rows of a matrix.

    Attributes:
        index: the FAISS index.
        manifest: factory string, dimension, rows, whether the vectors were normalised, and what `build` was told they
            are of.
    """

    index: Any
    manifest: dict[str, Any]

    @classmethod
    def build(
        cls,
        vectors: Matrix,
        factory: str = "Flat",
        *,
        cosine: bool = False,
        source: dict[str, Any] | None = None,
        seed: int = 0,
        show_progress: bool = False,
    ) -> FaissIndex:
        """Train an index on a sample of the vectors and add all of them, in blocks.

        Args:
            vectors: shape (n, d); may be memory-mapped.
            factory: FAISS's factory string: `Flat`, `HNSW32`, `IVF1024,Flat`, `IVF4096,PQ48`, `OPQ48,IVF4096,PQ48`...
            cosine: normalise the vectors (and later the queries).
            source: what the vectors are of, for the manifest (the embeddings' own manifest).
            seed: of the training sample.
            show_progress: show a bar.

        Raises:
            InputError: the factory string is wrong, or there are too few vectors for it, or none.
        """
        count, dimension = vectors.shape
        if not count:
            raise InputError("There are no vectors to index.")
        with _one_sentence(f"FAISS does not take the index '{factory}' for {dimension} dimensions"):
            index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            rows = np.random.default_rng(seed).permutation(count)[:_TRAINING_ROWS]
            sample = np.asarray(vectors[np.sort(rows)], dtype=np.float32)
            with _one_sentence(f"The index '{factory}' cannot be trained on {count} vectors; take a smaller one"):
                index.train(normalized(sample) if cosine else sample)
            if not cosine and _has_cells(index):
                _warn_of_lengths(factory, sample)
        for start in tqdm(
            range(0, count, _BLOCK), desc=f"Indexing ({factory})", disable=None if show_progress else True
        ):
            block = np.asarray(vectors[start : start + _BLOCK], dtype=np.float32)
            with _one_sentence(f"The index '{factory}' takes no vectors; choose another"):
                index.add(normalized(block) if cosine else np.ascontiguousarray(block))
        manifest = {
            "format": FORMAT,
            "factory": factory,
            "dimension": dimension,
            "rows": count,
            "cosine": cosine,
            "source": source or {},
        }
        return cls(index, manifest)

    @property
    def is_exact(self) -> bool:
        """Whether its scores and hits are those of exact search."""
        return str(self.manifest["factory"]) == "Flat"

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the index with its manifest.

        Raises:
            InputError: the folder is not empty and `overwrite` is false.
        """
        with output_folder(folder, overwrite) as path:
            faiss.write_index(self.index, str(path / "index.faiss"))
            write_json(path / "manifest.json", self.manifest)
            write_record(path)

    @classmethod
    def load(
        cls, folder: str | Path, *, source: dict[str, Any] | None = None, cosine: bool | None = None
    ) -> FaissIndex:
        """Read an index.

        Args:
            folder: where it is.
            source: the embeddings' manifest that it must be of.
            cosine: whether its vectors must be normalised.

        Raises:
            InputError: there is none, it cannot be read, or it was made from other embeddings.
        """
        folder = Path(folder)
        if read_json(folder / "manifest.json", dict).get("format") != FORMAT:
            raise InputError(f"'{folder}' does not hold an index written by this version.")
        manifest = read_json(folder / "manifest.json", _MANIFEST)
        require_unchanged(folder, ".faiss", f"delete '{folder}' and build it anew")
        for key, what in (("retriever", "by another retriever"), ("corpus", "of another corpus")):
            if source is not None and manifest["source"].get(key) != source.get(key):
                raise InputError(f"The index in '{folder}' was made from embeddings {what}; build it anew.")
        if cosine is not None and manifest["cosine"] != cosine:
            made = "cosine" if manifest["cosine"] else "dot products"
            raise InputError(f"The index in '{folder}' was made for {made}; build it anew for this similarity.")
        with _one_sentence(f"The index in '{folder}' cannot be read; build it anew"):
            index = faiss.read_index(str(folder / "index.faiss"))
        if (index.d, index.ntotal) != (manifest["dimension"], manifest["rows"]):
            raise InputError(f"The index in '{folder}' does not fit its manifest; build it anew.")
        return cls(index, manifest)

    def search(
        self, queries: np.ndarray, k: int, *, rescore: Matrix | None = None, parameters: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Search; with `rescore`, ten times as many candidates are scored exactly and the best kept.

        Args:
            queries: float32, shape (q, d).
            k: hits per query.
            rescore: the vectors that were indexed.
            parameters: FAISS's own, for example `nprobe=64` or `efSearch=256` (otherwise a cautious choice).

        Returns:
            Scores float32 and rows int64, shape (q, k); a row of -1 is no hit.

        Raises:
            InputError: the dimensions differ, or the parameters are not those of this index.
        """
        if queries.shape[1] != self.manifest["dimension"]:
            raise InputError(
                f"The queries have {queries.shape[1]} dimensions and the index {self.manifest['dimension']};"
                f" they must come from the same retriever."
            )
        queries = normalized(queries) if self.manifest["cosine"] else np.ascontiguousarray(queries, dtype=np.float32)
        _set_parameters(self.index, parameters)
        rows_there = self.manifest["rows"]
        if rescore is None or self.is_exact:
            return self._hits(queries, min(k, rows_there), parameters)
        _, candidates = self._hits(queries, min(_RESCORED * k, rows_there), parameters)
        return _rescored(queries, candidates, rescore, min(k, rows_there), cosine=self.manifest["cosine"])

    def _hits(self, queries: np.ndarray, k: int, parameters: str | None) -> tuple[np.ndarray, np.ndarray]:
        with _one_sentence(f"The index cannot be searched with the parameters '{parameters}'"):
            return self.index.search(queries, k)


def _rescored(
    queries: np.ndarray, candidates: np.ndarray, vectors: Matrix, k: int, *, cosine: bool
) -> tuple[np.ndarray, np.ndarray]:
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    rows = np.full((len(queries), k), -1, dtype=np.int64)
    for number, (query, found) in enumerate(zip(queries, candidates, strict=True)):
        found = np.sort(found[found >= 0])  # ascending, so that a stable sort orders equal scores by row
        block = np.asarray(vectors[found], dtype=np.float32)
        values = (normalized(block) if cosine else block) @ query
        best = np.argsort(-values, kind="stable")[:k]
        scores[number, : len(best)], rows[number, : len(best)] = values[best], found[best]
    return scores, rows


def _set_parameters(index: Any, parameters: str | None) -> None:
    """The caller's parameters, or: an eighth of the cells but at least 8, and a wide beam for graphs."""
    space: Any = faiss.ParameterSpace()
    if parameters:
        with _one_sentence(f"The index does not take the parameters '{parameters}'"):
            space.set_index_parameters(index, parameters)
        return
    core = faiss.extract_index_ivf(index) if _has_cells(index) else None
    if core is not None:
        core.nprobe = min(core.nlist, max(8, core.nlist // 8))
    base = faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index
    if hasattr(base, "hnsw"):
        base.hnsw.efSearch = 256


def _has_cells(index: Any) -> bool:
    try:
        return faiss.extract_index_ivf(index) is not None
    except RuntimeError:
        return False


@contextmanager
def _one_sentence(what: str) -> Iterator[None]:
    """Tell a failure of FAISS with the last part of its message, without its file names."""
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).rsplit(": ", 1)[-1].split()) or "no reason given"
        raise InputError(f"{what} (FAISS says: {reason}).") from None


def _warn_of_lengths(factory: str, vectors: np.ndarray) -> None:
    """Say that cells are chosen badly for dot products of vectors of different lengths: long ones win everywhere."""
    lengths = np.linalg.norm(vectors, axis=1)
    spread = float(lengths.std() / max(lengths.mean(), 1e-12))
    if spread > _SPREAD:
        logger.warning(
            "The vectors' lengths differ by %.0f %%, so '%s' misses more of the best dot products than of the best cosines; "
            "raise nprobe with --index-parameters, or take HNSW or Flat.",
            100 * spread,
            factory,
        )
