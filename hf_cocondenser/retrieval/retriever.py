"""Loading a retriever, and the similarity it was made for."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from hf_cocondenser.data.tokenizer import tokenizer_hash
from hf_cocondenser.errors import InputError
from hf_cocondenser.hub.export import usual_length
from hf_cocondenser.retrieval.collections.protocols import DEFAULT, Protocol
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.files import read_json
from hf_cocondenser.utils.loading import loading, refuse_classifier

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

Similarity = Literal["dot", "cosine"]
SIMILARITIES = get_args(Similarity)


def load_retriever(name_or_path: str | Path, device: str | None = None) -> SentenceTransformer:
    """Load a retriever: a sentence-transformers folder or Hub repository, or the encoder of a shipped checkpoint.

    Raises:
        InputError: nothing is there, or it is a cross-encoder, or a bare or Condenser pre-training checkpoint, which has
            no pooling and similarity of its own.
    """
    from sentence_transformers import SentenceTransformer

    if (shipped := Path(checkpoint_path(name_or_path))) != (path := Path(name_or_path)):
        return _shipped_retriever(shipped, device)
    if path.is_dir():
        _refuse_bare_checkpoint(path)
    elif path.exists():
        raise InputError(f"'{path}' is a file; name the folder of a retriever.")
    with loading("The retriever", name_or_path):
        with suppress(OSError):  # a sentence-transformers model may have it in a folder of its own
            refuse_classifier(name_or_path)
        if not path.is_dir():
            _refuse_bare_name(str(name_or_path))
        return SentenceTransformer(str(name_or_path), device=device)


def _shipped_retriever(checkpoint: Path, device: str | None) -> SentenceTransformer:
    """What `save_retriever` would write of a checkpoint in the package.

    Made in memory: among processes that work together, transformers would write a folder in the first of them only.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    transformer = Transformer(str(checkpoint), model_kwargs={"dtype": torch.float32})
    encoder = transformer.model = transformer.model.get_backbone()
    transformer.max_seq_length = usual_length(encoder)
    return SentenceTransformer(
        modules=[transformer, Pooling(encoder.config.hidden_size, "cls")], similarity_fn_name="dot", device=device
    )


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
    from sentence_transformers.sentence_transformer.modules import Transformer

    transformers = [module for module in model.modules() if isinstance(module, Transformer)]
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

    return isinstance(model[len(model) - 1], Normalize)


def _refuse_bare_checkpoint(path: Path) -> None:
    if (path / "modules.json").is_file():
        return
    if not (path / "config.json").is_file():
        raise InputError(f"'{path}' is not a retriever: it has neither modules.json nor config.json.")
    export = f"write a retriever with `hf-cocondenser export {path} --output-dir DIR` and name that folder."
    if read_json(path / "config.json").get("model_type") == "condenser":
        raise InputError(f"'{path}' is a Condenser pre-training checkpoint, not a retriever; {export}")
    raise InputError(
        f"'{path}' is a bare checkpoint without modules.json, so its pooling and score are unknown; {export}"
    )


def _refuse_bare_name(name: str) -> None:
    """Refuse a Hub name without modules.json: sentence-transformers would make up mean pooling and cosine for it."""
    from sentence_transformers.util import is_sentence_transformer_model

    names = [name] if "/" in name else [f"sentence-transformers/{name}", name]
    if not any(is_sentence_transformer_model(each) for each in names):
        raise InputError(
            f"'{name}' is a bare checkpoint without modules.json, so its pooling and score are unknown; make a retriever"
            " of it with `hf-cocondenser finetune`, or `export` where it is a Condenser."
        )


def fingerprint(model: SentenceTransformer) -> str:
    """A hash of everything that a vector depends on: weights, modules, tokenizer, prompts, lengths."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if ".pooler." in name:
            continue  # not used; BERT-like checkpoints saved without one get a new random one at every loading
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    settings = {
        "modules": [[type(module).__name__, _module_settings(module)] for module in model],
        "prompts": model.prompts,
        "default_prompt": model.default_prompt_name,
        "max_seq_length": model.max_seq_length,
        "truncate_dim": model.truncate_dim,
    }
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    # Not what the tokenizer's last call left set: the model's lengths say that.
    is_fast = getattr(model.tokenizer, "is_fast", False)
    digest.update((tokenizer_hash(model.tokenizer) if is_fast else repr(model.tokenizer)).encode())
    return digest.hexdigest()


def _module_settings(module: Any) -> Any:
    settings = module.get_config_dict() if hasattr(module, "get_config_dict") else {}
    inner = [part for part in module.modules() if part is not module and hasattr(part, "get_config_dict")]
    if inner:  # a Router, whose own settings say nothing of the encoders it leads to
        return [settings, *([type(part).__name__, part.get_config_dict()] for part in inner)]
    return settings
