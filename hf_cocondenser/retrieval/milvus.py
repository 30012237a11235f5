"""Search over Milvus: the embedded engine as a folder, or a cluster by its address (an extra: `pymilvus`)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.topk import Matrix, normalized
from hf_cocondenser.utils.loading import one_line

_ROWS_AT_ONCE = 2000  # 2,000 rows of 1,024 dimensions are 8 MB; a message may have 64
_QUERIES_AT_ONCE = 256
_ID_BYTES = 4096


class MilvusIndex:
    """A collection of one retriever's vectors of one corpus; its name is made from both, so that no other is searched.

    Attributes:
        collection: its name.
    """

    def __init__(
        self, uri: str, *, retriever: str, corpus: str, dimension: int, cosine: bool, kind: str = "AUTOINDEX"
    ) -> None:
        """Connect, and make the collection where there is none.

        Args:
            uri: a path ending in `.db` (the embedded engine) or a server such as `http://localhost:19530`.
            retriever: its `fingerprint`.
            corpus: its hash.
            dimension: of the vectors.
            cosine: normalise vectors and queries.
            kind: Milvus' index type: AUTOINDEX, FLAT, HNSW, IVF_FLAT...

        Raises:
            InputError: pymilvus is not installed, nothing answers at `uri`, or the collection cannot be made.
        """
        try:
            from pymilvus import DataType, MilvusClient
            from pymilvus.exceptions import MilvusException
        except ImportError:
            raise InputError("Searching over Milvus needs pymilvus: pip install 'hf-cocondenser[milvus]'.") from None
        self._failure = MilvusException
        self.cosine = cosine
        self.dimension = dimension
        key = hashlib.sha256(f"{retriever} {corpus} {cosine} {kind}".encode()).hexdigest()[:24]
        self.collection = f"hf_cocondenser_{key}"
        try:
            self._client = MilvusClient(uri)
            if not self._client.has_collection(self.collection):
                schema = self._client.create_schema(auto_id=False)
                schema.add_field("row", DataType.INT64, is_primary=True)
                schema.add_field("document", DataType.VARCHAR, max_length=_ID_BYTES)
                schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
                parameters = self._client.prepare_index_params()
                parameters.add_index("vector", index_type=kind, metric_type="IP")
                self._client.create_collection(
                    self.collection, schema=schema, index_params=parameters, consistency_level="Strong"
                )
            self._client.load_collection(self.collection)
        except (MilvusException, OSError, ValueError) as error:
            raise InputError(f"Milvus at '{uri}' cannot be used: {one_line(error)}") from None

    def __len__(self) -> int:
        """How many rows the collection has."""
        return int(self._client.query(self.collection, filter="", output_fields=["count(*)"])[0]["count(*)"])

    def fill(self, ids: Sequence[str], vectors: Matrix, *, show_progress: bool = False) -> None:
        """Put the rows in that are not there yet; a call that was stopped is gone on with.

        Raises:
            InputError: an id is longer than Milvus takes.
        """
        if long := next((name for name in ids if len(name.encode("utf-8", "surrogatepass")) > _ID_BYTES), None):
            raise InputError(
                f"The id '{long[:40]}...' has more than the {_ID_BYTES} bytes that Milvus takes; shorten it."
            )
        # Blocks go in one after another, so all but the last block there is whole.
        start = len(self) // _ROWS_AT_ONCE * _ROWS_AT_ONCE
        for first in tqdm(
            range(start, len(ids), _ROWS_AT_ONCE), desc="To Milvus", disable=None if show_progress else True
        ):
            block = np.asarray(vectors[first : first + _ROWS_AT_ONCE], dtype=np.float32)
            block = normalized(block) if self.cosine else block
            rows = [
                {"row": first + offset, "document": ids[first + offset], "vector": vector}
                for offset, vector in enumerate(block)
            ]
            self._client.upsert(self.collection, rows)

    def search(
        self, queries: np.ndarray, k: int, *, rescore: Matrix | None = None, parameters: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Search.

        Args:
            queries: float32, shape (q, d).
            k: hits per query.
            rescore: not needed: Milvus keeps the vectors and scores with them.
            parameters: Milvus' own for the index type, for example `nprobe=64` or `ef=256`.

        Returns:
            Scores float32 and rows int64, shape (q, k); a row of -1 is no hit.

        Raises:
            InputError: the dimensions differ, a parameter is not `name=number`, or Milvus refuses it.
        """
        if queries.shape[1] != self.dimension:
            raise InputError(
                f"The queries have {queries.shape[1]} dimensions and the collection {self.dimension};"
                f" they must come from the same retriever."
            )
        queries = normalized(queries) if self.cosine else np.asarray(queries, dtype=np.float32)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        rows = np.full((len(queries), k), -1, dtype=np.int64)
        options = {"metric_type": "IP", "params": _numbers(parameters)}
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            block = list(queries[start : start + _QUERIES_AT_ONCE])
            try:
                found: Any = self._client.search(self.collection, data=block, limit=k, search_params=options)
            except self._failure as error:
                raise InputError(f"Milvus cannot search for {k} hits with '{parameters}': {one_line(error)}") from None
            for number, hits in enumerate(found, start=start):
                scores[number, : len(hits)] = [hit["distance"] for hit in hits]
                rows[number, : len(hits)] = [hit["row"] for hit in hits]
        return scores, rows

    def close(self) -> None:
        """End the connection."""
        self._client.close()


def _numbers(parameters: str | None) -> dict[str, int]:
    try:
        pairs = [part.split("=") for part in (parameters or "").split(",") if part.strip()]
        return {name.strip(): int(value) for name, value in pairs}
    except ValueError:
        raise InputError(
            f"The search parameters '{parameters}' are not of the form name=number,name=number."
        ) from None
