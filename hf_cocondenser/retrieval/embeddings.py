"""Embeddings of a whole corpus on disk: float32 shards that are finished or absent, tied to retriever and corpus.

    FOLDER/manifest.json          retriever, corpus, dimension, shard size, precision
    FOLDER/ids.json               document ids in row order
    FOLDER/shard-00000.npy        rows 0 .. shard_size - 1, and so on
    FOLDER/shard-00000.json       written after its shard: rows and checksum

A process that is killed loses the shard it was working on and nothing else. What a shard holds depends on neither the
number of processes nor of threads.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.encode import Encoder
from hf_cocondenser.retrieval.retriever import fingerprint
from hf_cocondenser.utils.distributed import cpu_threads, on_first, processes, wait_for_everyone, working_in
from hf_cocondenser.utils.files import read_json, write_json, write_text
from hf_cocondenser.utils.hashes import hash_texts
from hf_cocondenser.utils.locks import lock_file

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

FORMAT = 1
_MANIFEST = {"retriever": str, "corpus": str, "documents": int, "dimension": int, "shard_size": int}


class ShardedMatrix:
    """The shards as one read-only float32 matrix, memory-mapped; slices and row lists give arrays."""

    def __init__(self, shards: Sequence[np.ndarray]) -> None:
        self._shards = list(shards)
        self._starts = np.cumsum([0, *(len(shard) for shard in shards)])
        self.shape = (int(self._starts[-1]), shards[0].shape[1])
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Rows of a plain slice, or of an array of row numbers."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self))) if rows.step not in (None, 1) else rows
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            first = int(np.searchsorted(self._starts, start, side="right")) - 1
            parts = []
            for shard, offset in zip(self._shards[first:], self._starts[first:], strict=False):
                if offset >= stop:
                    break
                parts.append(shard[max(start - offset, 0) : stop - offset])
            return np.concatenate(parts) if len(parts) > 1 else np.asarray(parts[0]) if parts else self._empty()
        result = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(numbers):
            here = numbers == number
            result[here] = self._shards[number][rows[here] - self._starts[number]]
        return result

    def _empty(self) -> np.ndarray:
        return np.empty((0, self.shape[1]), dtype=np.float32)


@dataclass(frozen=True)
class Embeddings:
    """A corpus's vectors.

    Attributes:
        ids: document ids in row order.
        vectors: float32, shape (documents, dimension), as the retriever gives them (not normalised).
        manifest: what they are of.
    """

    ids: list[str]
    vectors: ShardedMatrix
    manifest: dict[str, Any]


def encode_corpus(
    model: SentenceTransformer,
    corpus: Mapping[str, str],
    folder: str | Path,
    *,
    precision: str = "auto",
    shard_size: int = 16384,
    show_progress: bool = False,
) -> Embeddings:
    """Encode a corpus into `folder`, or go on where an earlier call was stopped, or just open what is complete.

    Under torchrun or accelerate launch the processes share the shards (rank r takes every world-size-th) and all of
    them return the whole.

    Args:
        model: the retriever.
        corpus: document id -> text.
        folder: where the shards are; a shared file system when there are several machines.
        precision: `auto`, `float32` or `bfloat16`.
        shard_size: documents of a shard, which is what a killed process can lose.
        show_progress: show a bar (of this process's part).

    Raises:
        InputError: the corpus is empty, or the folder holds something else, or embeddings of another retriever or corpus.
    """
    if not corpus:
        raise InputError("The corpus is empty, so there is nothing to encode.")
    folder = Path(folder)
    encoder = Encoder(model, precision=precision, threads=cpu_threads())
    manifest = {
        "format": FORMAT,
        "retriever": fingerprint(model),
        "corpus": hash_texts(corpus.items()),
        "documents": len(corpus),
        "dimension": encoder.dimension,
        "precision": encoder.precision,
        "shard_size": shard_size,
    }
    complete = on_first(lambda: _is_complete(folder, manifest) and not lock_file(folder).exists())
    with nullcontext() if complete else _writing(folder):
        on_first(lambda: _start_or_resume(folder, manifest, corpus))
        _encode_missing(encoder, corpus, folder, manifest, show_progress)
        wait_for_everyone()
    return _opened(folder, manifest, read=False)  # each process has just checked its part


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """The folder for this job alone; another job that fills it is waited for."""
    try:
        with working_in(folder, wait=True):
            yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise InputError(
            f"The cache '{folder}' cannot be written to ({error.strerror}); name another folder."
        ) from None


def open_embeddings(folder: str | Path, *, retriever: str | None = None) -> Embeddings:
    """Open finished embeddings, memory-mapped, after checking every shard.

    Args:
        folder: where they are.
        retriever: the `fingerprint` that they must be of.

    Raises:
        InputError: they are of another retriever, not finished, or damaged.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if retriever is not None and manifest["retriever"] != retriever:
        raise InputError(
            f"The embeddings in '{folder}' were made by another retriever; encode the corpus with this one."
        )
    return _opened(folder, manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an embeddings folder.

    Raises:
        InputError: there is none, or it is damaged or of an unknown format.
    """
    manifest = read_json(folder / "manifest.json", dict)
    if manifest.get("format") != FORMAT:
        raise InputError(f"'{folder}' does not hold embeddings written by this version.")
    return read_json(folder / "manifest.json", _MANIFEST)


def _opened(folder: Path, manifest: dict[str, Any], read: bool = True) -> Embeddings:
    ids = read_json(folder / "ids.json", list)
    numbers = range(_shard_count(manifest))
    if not all(_is_finished(folder, number) for number in numbers):
        raise InputError(f"The embeddings in '{folder}' are not finished; run the same encoding again to go on.")
    if len(ids) != manifest["documents"]:
        raise InputError(f"'{folder / 'ids.json'}' does not fit its manifest; delete '{folder}' and encode again.")
    return Embeddings(ids, ShardedMatrix([_shard(folder, number, manifest, read) for number in numbers]), manifest)


def _is_complete(folder: Path, manifest: dict[str, Any]) -> bool:
    """Whether nothing is left to write."""
    if not (folder / "manifest.json").is_file() or read_manifest(folder) != manifest:
        return False
    return all(_is_finished(folder, number) for number in range(_shard_count(manifest)))


def _start_or_resume(folder: Path, manifest: dict[str, Any], corpus: Mapping[str, str]) -> None:
    if (folder / "manifest.json").exists():
        there = read_manifest(folder)
        different = [key for key in manifest if there.get(key) != manifest[key]]
        if different:
            short = {"precision", "shard_size", "documents", "dimension"}
            told = [f"{key} ({there.get(key)}, now {manifest[key]})" if key in short else key for key in different]
            raise InputError(
                f"'{folder}' holds embeddings with another {', '.join(told).replace('_', ' ')};"
                f" name another folder, or delete it."
            )
    elif folder.exists() and not (folder.is_dir() and {path.name for path in folder.glob("[!.]*")} <= {"ids.json"}):
        raise InputError(f"'{folder}' is not empty and holds no embeddings; name a new folder.")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "ids.json", json.dumps(list(corpus), ensure_ascii=False))
        write_json(folder / "manifest.json", manifest)


def _encode_missing(
    encoder: Encoder,
    corpus: Mapping[str, str],
    folder: Path,
    manifest: dict[str, Any],
    show_progress: bool,
) -> None:
    """Write this process's shards that are not there, and read through those that are."""
    state = processes()
    missing = []
    for number in range(state.process_index, _shard_count(manifest), state.num_processes):
        if _is_finished(folder, number):
            _shard(folder, number, manifest, read=True)
        else:
            missing.append(number)
    size = manifest["shard_size"]
    texts = iter(corpus.values())
    position = 0
    total = sum(min(size, len(corpus) - number * size) for number in missing)
    with tqdm(total=total, desc="Encoding", unit="text", disable=None if show_progress and missing else True) as bar:
        for number in missing:
            next(islice(texts, number * size - position, number * size - position), None)  # step over other shards
            part = list(islice(texts, size))
            position = number * size + len(part)
            vectors = encoder.encode(part, progress=bar.update)
            _write_shard(folder, number, vectors)


def _write_shard(folder: Path, number: int, vectors: np.ndarray) -> None:
    """Write the shard, then the file that says it is whole."""
    name = _shard_name(number)
    for leftover in folder.glob(f".{name}.npy.partial-*"):
        leftover.unlink()
    partial = folder / f".{name}.npy.partial-{os.getpid()}"
    with partial.open("wb") as file:
        np.save(file, vectors, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / f"{name}.npy")
    write_json(folder / f"{name}.json", {"rows": len(vectors), "crc32": zlib.crc32(vectors.data)})


def _is_finished(folder: Path, number: int) -> bool:
    return (folder / f"{_shard_name(number)}.json").is_file()


def _shard(folder: Path, number: int, manifest: dict[str, Any], read: bool) -> np.ndarray:
    """A shard, memory-mapped; with `read`, its checksum is compared, for which all of it is read."""
    path = folder / f"{_shard_name(number)}.npy"
    rows = min(manifest["shard_size"], manifest["documents"] - number * manifest["shard_size"])
    try:
        shard = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        shard = np.empty((0, 0))
    whole = shard.shape == (rows, manifest["dimension"]) and shard.dtype == np.float32
    if whole and read:
        whole = zlib.crc32(shard.data) == read_json(path.with_suffix(".json"), {"crc32": int})["crc32"]
    if not whole:
        raise InputError(
            f"The shard '{path}' is missing or damaged; delete '{path.with_suffix('.json')}' and encode again"
            f" (the other shards are kept)."
        )
    return shard


def _shard_count(manifest: dict[str, Any]) -> int:
    return -(-manifest["documents"] // manifest["shard_size"])


def _shard_name(number: int) -> str:
    return f"shard-{number:05d}"
