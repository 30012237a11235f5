"""Reading a span folder: memory-mapped token arrays and the manifest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.files import read_json

SPANS_FILE, MANIFEST_FILE = "spans.arrow", "manifest.json"
FORMAT = 1
_MANIFEST = {"tokenizer": dict, "recipe": dict, "counts": dict, "evaluation": {"documents": int, "below_hash": int}}


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Return the manifest of a span folder.

    Raises:
        InputError: the folder is none, or of a format this version does not read.
    """
    path = Path(folder) / MANIFEST_FILE
    if not path.is_file():
        raise InputError(
            f"'{folder}' is not a span folder (no {MANIFEST_FILE}); make one with hf-cocondenser prepare."
        )
    if read_json(path, dict).get("format") != FORMAT:
        raise InputError(f"'{path}' is not a manifest of span format {FORMAT}; prepare the documents again.")
    return read_json(path, _MANIFEST)


class _Lists:
    """A list column of a memory-mapped table: a numpy view per record batch, nothing copied."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self.views = [chunk.values.to_numpy(zero_copy_only=True) for chunk in column.chunks]
        offsets = [chunk.offsets.to_numpy().astype(np.int64) for chunk in column.chunks]
        empty = [np.zeros(0, np.int64)]
        self.firsts = np.concatenate(empty + [chunk[:-1] for chunk in offsets])
        self.lengths = np.concatenate(empty + [np.diff(chunk) for chunk in offsets])
        self.chunks = np.repeat(np.arange(len(offsets)), [len(chunk) - 1 for chunk in offsets])

    def slice(self, row: int, start: int, end: int) -> npt.NDArray[Any]:
        first = self.firsts[row]
        return self.views[self.chunks[row]][first + start : first + end]


class SpanStore:
    """The rows of a span file, one per document; opened again, not copied, when pickled.

    Attributes:
        token_counts, span_counts (documents): how many tokens and spans each has.
        id_hashes (documents): the hash of its id.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._open()

    def _open(self) -> None:
        path = self.folder / SPANS_FILE
        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
                table = reader.read_all()
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"'{path}' cannot be read ({error}); prepare the documents again.") from None
        self._tokens = _Lists(table["tokens"])
        self._span_ends = _Lists(table["span_ends"])
        self._word_starts = _Lists(table["word_starts"]) if "word_starts" in table.column_names else None
        self._ids = table["_id"]
        self.token_counts = self._tokens.lengths
        self.span_counts = self._span_ends.lengths
        self.id_hashes = table["id_hash"].to_numpy()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.folder = state["folder"]
        self._open()

    def __len__(self) -> int:
        return len(self.token_counts)

    @property
    def has_word_starts(self) -> bool:
        """Whether word starts are stored with the tokens."""
        return self._word_starts is not None

    def id(self, document: int) -> str:
        """Return the id of a document."""
        return self._ids[int(document)].as_py()

    def tokens(self, document: int, start: int, end: int) -> npt.NDArray[np.integer]:
        """Return tokens of a document, a view into the file."""
        return self._tokens.slice(document, start, end)

    def word_starts(self, document: int, start: int, end: int) -> npt.NDArray[np.uint8]:
        """Return whether each of these tokens begins a word, a view into the file."""
        assert self._word_starts is not None
        return self._word_starts.slice(document, start, end)

    def span_ends(self, document: int) -> npt.NDArray[np.int32]:
        """Return where the spans of a document end."""
        return self._span_ends.slice(document, 0, self.span_counts[document])

    def span_lengths(self) -> Iterator[npt.NDArray[np.int64]]:
        """Give the lengths of all spans, a stretch of the file at a time."""
        for chunk, ends in enumerate(self._span_ends.views):
            lengths = np.diff(ends.astype(np.int64), prepend=0)
            firsts = self._span_ends.firsts[self._span_ends.chunks == chunk]
            lengths[firsts] = ends[firsts]
            yield lengths
