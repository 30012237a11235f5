"""What a retriever's vectors are compared by, and how long its texts are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, get_args

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.collections.protocols import DEFAULT, Protocol
from hf_cocondenser.retrieval.retriever import transformers_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Similarity = Literal["dot", "cosine"]
SIMILARITIES = get_args(Similarity)


def choose_similarity(model: SentenceTransformer, wanted: str | None = None, *, force: bool = False) -> str:
    """The similarity to search with: the retriever's own.

    Args:
        model: the retriever.
        wanted: `dot` or `cosine`, when the caller asks for one.
        force: allow one that the retriever was not made for.

    Raises:
        InputError: the retriever is compared by a distance, or does not say by what, or `wanted` is not its own and
            `force` is false.
    """
    own = recorded_similarity(model)
    if own is None and wanted is None:
        raise InputError(
            "The retriever does not say whether its vectors are compared by dot product or cosine; look it up where it was"
            " published and name it with --similarity."
        )
    own = own or str(wanted)
    if own not in SIMILARITIES:
        raise InputError(f"The retriever compares by '{own}'; only {' and '.join(SIMILARITIES)} can be searched.")
    if wanted is None or wanted == own:
        return own
    if wanted not in SIMILARITIES:
        raise InputError(f"The similarity '{wanted}' is not known; there are {', '.join(SIMILARITIES)}.")
    if not force and not _gives_unit_vectors(model):
        raise InputError(
            f"The retriever was made for '{own}' and '{wanted}' was asked for, which gives wrong results;"
            f" leave the similarity out, or add --force to do it all the same."
        )
    return wanted


def recorded_similarity(model: SentenceTransformer) -> str | None:
    """What a retriever says that it is compared by; None where it says nothing and it matters.

    Models of sentence-transformers before 2.7 recorded nothing, and it takes cosine for all of them; only for vectors of
    length 1 are cosine and dot product the same.
    """
    if model._similarity_fn_name is None and not _gives_unit_vectors(model):
        return None
    return str(model.similarity_fn_name)


@contextmanager
def protocol_lengths(model: SentenceTransformer, protocol: Protocol) -> Iterator[None]:
    """Read queries and documents inside as long as published figures of a data set do, then as before.

    A model with absolute positions reads no longer than it says it can; T5, whose positions are relative, has no limit.
    A data set without a protocol of its own is read as the retriever reads it anyway.
    """
    transformers = transformers_of(model)
    before = [(module.query_length, module.document_length, module.max_seq_length) for module in transformers]
    if protocol is not DEFAULT:
        for module in transformers:
            lengths = [protocol.query_length, protocol.document_length]
            if hasattr(module.auto_model.config, "max_position_embeddings") and module.max_seq_length:
                lengths = [min(length, module.max_seq_length) for length in lengths]
            module.query_length, module.document_length = lengths
            module.max_seq_length = max(lengths)
    try:
        yield
    finally:
        for module, values in zip(transformers, before, strict=True):
            module.query_length, module.document_length, module.max_seq_length = values


def _gives_unit_vectors(model: SentenceTransformer) -> bool:
    from sentence_transformers.sentence_transformer.modules import Normalize

    return isinstance(model[len(model) - 1], Normalize) and model.truncate_dim is None  # truncation comes after it
