"""From any starting point (retriever, plain checkpoint, Condenser checkpoint) to a sentence-transformers model."""

from __future__ import annotations

import copy
import hashlib
import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.config import FinetuneConfig
from hf_cocondenser.hub.checkpoint import load_pretraining_checkpoint
from hf_cocondenser.hub.export import save_retriever, usable_positions
from hf_cocondenser.hub.records import PRETRAINING, pretraining_without_paths
from hf_cocondenser.pretraining.dropout import set_dropout
from hf_cocondenser.retrieval.encode import resolve_precision
from hf_cocondenser.retrieval.retriever import recorded_similarity
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.distributed import local_device
from hf_cocondenser.utils.files import read_json, write_json
from hf_cocondenser.utils.hashes import checkpoint_hash
from hf_cocondenser.utils.loading import loading, refuse_classifier
from hf_cocondenser.utils.steps import processes

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

_SOURCE = "source.json"


def load_starting_point(checkpoint: str | Path, work_folder: Path, config: FinetuneConfig) -> SentenceTransformer:
    """Load what is to be fine-tuned, in float32, with the configuration's lengths, similarity and dropout.

    A sentence-transformers model is used as it is; a plain encoder checkpoint gets the pooling and projection that the
    configuration names (CLS, or the mean for T5, and none), and the dot product unless told otherwise; so does the
    encoder of a Condenser pre-training checkpoint, which is exported to `work_folder` first.

    Raises:
        InputError: it cannot be loaded, or the lengths do not fit it.
    """
    checkpoint = checkpoint_path(checkpoint)
    path, plain = Path(checkpoint), False
    if path.is_dir() and not (path / "modules.json").is_file():
        if not (path / "config.json").is_file():
            raise InputError(f"'{path}' is no checkpoint: it has neither config.json nor modules.json.")
        if read_json(path / "config.json").get("model_type") == "condenser":
            checkpoint, plain = _exported(path, work_folder / "start"), True
    model = _load(str(checkpoint), config, plain)
    if config.similarity is not None:
        model.similarity_fn_name = config.similarity
    if recorded_similarity(model) is None:
        raise InputError(f"'{checkpoint}' does not say what it compares by; choose --similarity dot or cosine.")
    if model.similarity_fn_name not in ("dot", "cosine"):
        raise InputError(f"'{checkpoint}' compares by '{model.similarity_fn_name}'; choose similarity dot or cosine.")
    if config.untied:
        model = untie(model)
    for transformer in transformers_of(model):
        _set_lengths(transformer, config)
        # sentence-transformers never uses a pooler; its random weights would go into the retriever, and as unused
        # parameters they keep DDP from synchronising the gradients, silently.
        if getattr(transformer.auto_model, "pooler", None) is not None:
            transformer.auto_model.pooler = None
        if config.dropout is not None:
            set_dropout(transformer.auto_model, config.dropout)
    return model


def _exported(path: Path, folder: Path) -> Path:
    """The encoder of the Condenser checkpoint at `path`, exported to `folder`; anew where that holds another one's."""
    with processes().main_process_first():
        if processes().is_main_process:
            source = {"checkpoint": checkpoint_hash(path)}
            record = folder / _SOURCE
            if not record.is_file() or read_json(record) != source:
                save_retriever(path, folder, overwrite=folder.is_dir())
                write_json(record, source)
    return folder


def with_encoder(retriever: str | Path, pretrained: Path, output_dir: Path) -> None:
    """Write a sentence-transformers model with the encoder of a Condenser checkpoint that was pre-trained from it.

    Pooling, projection, normalisation, similarity and prompts are the retriever's own; the record of the pre-training
    comes with it.

    Args:
        retriever: folder or Hub name of the sentence-transformers model; its first module is the encoder.
        pretrained: folder of the pre-training checkpoint.
        output_dir: where to write; a new folder.
    """
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(retriever), model_kwargs={"dtype": torch.float32}, device="cpu")
    (transformer,) = transformers_of(model)
    encoder = transformer.auto_model
    if getattr(encoder, "pooler", None) is not None:  # never used, and not pre-trained
        encoder.pooler = None
    weights = load_pretraining_checkpoint(pretrained).get_backbone().state_dict()
    encoder.load_state_dict({name: value for name, value in weights.items() if not name.startswith("pooler.")})
    model.save_pretrained(str(output_dir), create_model_card=False)
    write_json(output_dir / PRETRAINING, pretraining_without_paths(read_json(pretrained / PRETRAINING)))


def _load(checkpoint: str, config: FinetuneConfig, plain: bool) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Transformer
    from sentence_transformers.util import is_sentence_transformer_model

    options: dict[str, Any] = {"dtype": torch.float32}
    attention = config.attention or _fast_attention(config.precision)
    if attention:
        options["attn_implementation"] = attention
    with loading("The checkpoint", checkpoint):
        with suppress(OSError):  # a sentence-transformers model may have it in a folder of its own
            refuse_classifier(checkpoint)
        if not plain and is_sentence_transformer_model(checkpoint):
            return SentenceTransformer(checkpoint, model_kwargs=options, device=local_device())
        transformer = Transformer(checkpoint, model_kwargs=options)
    similarity = config.similarity or "dot"
    modules = _behind(transformer, config, similarity)
    kinds = ", ".join(type(module).__name__ for module in modules)
    logger.info(
        "%s is a plain checkpoint: it gets %s pooling (%s) and the %s.",
        checkpoint,
        modules[0].pooling_mode,
        kinds,
        "dot product" if similarity == "dot" else similarity,
    )
    return SentenceTransformer(modules=[transformer, *modules], similarity_fn_name=similarity, device=local_device())


def _behind(transformer: Any, config: FinetuneConfig, similarity: str) -> list[Any]:
    """Pooling, and with a projection a linear layer without bias and, for cosines, the scaling to length 1 (GTR)."""
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling

    width = transformer.get_embedding_dimension()
    pooling = config.pooling
    if pooling == "auto":
        pooling = "mean" if is_t5(transformer.auto_model) else "cls"
    modules: list[Any] = [Pooling(width, pooling)]
    if config.projection:
        torch.manual_seed(config.seed)  # untied encoders, other processes and a second call get the same weights
        modules.append(Dense(width, config.projection, bias=False, activation_function=torch.nn.Identity()))
        if similarity == "cosine":
            modules.append(Normalize())
    return modules


def is_t5(encoder: Any) -> bool:
    """Whether an encoder is of T5's family (T5, Flan-T5, mT5, uMT5, LongT5), which has no CLS token."""
    return encoder.config.model_type in ("t5", "mt5", "umt5", "longt5")


def _fast_attention(precision: str) -> str | None:
    """On a CPU, sdpa's backward pass in bf16 is slower than eager's (by 30 % on Zen 4)."""
    if torch.cuda.is_available() or precision == "float16":
        return None
    return "eager" if resolve_precision(precision, torch.device("cpu")) == "bfloat16" else None


def untie(model: SentenceTransformer) -> SentenceTransformer:
    """Two encoders, one for queries and one for passages, both starting as copies of `model`."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Router

    if isinstance(model[0], Router):
        return model
    routes = [[copy.deepcopy(module) for module in model] for _ in range(2)]
    router = Router.for_query_document(query_modules=routes[0], document_modules=routes[1])
    return SentenceTransformer(modules=[router], similarity_fn_name=model.similarity_fn_name, prompts=model.prompts)


def transformers_of(model: SentenceTransformer) -> list[Any]:
    """The Transformer modules of a retriever, one or (untied) two."""
    from sentence_transformers.sentence_transformer.modules import Transformer

    return [module for module in model.modules() if isinstance(module, Transformer)]


def _set_lengths(transformer: Any, config: FinetuneConfig) -> None:
    encoder = transformer.auto_model
    # T5 has relative positions and takes any length.
    limit = usable_positions(encoder) if hasattr(encoder.config, "max_position_embeddings") else 10**9
    transformer.query_length = min(config.query_length, limit)
    transformer.document_length = min(config.passage_length, limit)
    transformer.max_seq_length = max(transformer.query_length, transformer.document_length)
    if max(config.query_length, config.passage_length) > limit:
        logger.warning("The model has %d positions; longer texts are cut there.", limit)


def freeze_unused(model: SentenceTransformer) -> list[str]:
    """Take parameters that do not reach the sentence vector out of training; returns their names.

    DDP waits for the gradient of every trainable parameter and, when one never comes, does not synchronise at all.
    """
    training = model.training
    model.eval()
    for task in ("query", "document"):
        features = model.preprocess(["unused"], task=task)
        features = {k: v.to(model.device) if isinstance(v, torch.Tensor) else v for k, v in features.items()}
        model(features, task=task)["sentence_embedding"].sum().backward()
    unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    for name, parameter in model.named_parameters():
        parameter.grad = None
        if name in unused:
            parameter.requires_grad_(False)
    model.train(training)
    return unused


def model_hash(model: SentenceTransformer) -> str:
    """SHA-256 (hex) of a retriever's modules and weights."""
    digest = hashlib.sha256(repr([type(module).__name__ for module in model.modules()]).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
