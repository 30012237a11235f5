"""What fine-tuning starts from: any checkpoint as a retriever, with the arguments' lengths and dropout."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hf_cocondenser.backbones import set_dropout, usable_positions
from hf_cocondenser.errors import InputError
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.hub.layout import save_portable
from hf_cocondenser.hub.records import PRETRAINING, pretraining_without_paths, read_pretraining
from hf_cocondenser.retrieval.encode import resolve_precision
from hf_cocondenser.retrieval.retriever import as_retriever, is_retriever, transformers_of, with_modules
from hf_cocondenser.retrieval.similarity import SIMILARITIES, recorded_similarity
from hf_cocondenser.utils.checkpoint import load_pretraining_checkpoint
from hf_cocondenser.utils.distributed import local_device, training_device
from hf_cocondenser.utils.files import write_json

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)


def load_starting_point(checkpoint: str | Path, args: RetrieverTrainingArguments) -> SentenceTransformer:
    """Load what is to be fine-tuned (`as_retriever`), with the arguments' lengths, similarity and dropout.

    A plain encoder or a Condenser gets the pooling and projection that the arguments name.

    Raises:
        InputError: it cannot be loaded, or does not say what it compares by.
    """
    attention = args.attn_implementation or _fast_attention(args.precision)
    model = as_retriever(
        checkpoint,
        pooling=args.pooling or "auto",
        similarity=args.similarity,
        attention=attention,
        device=local_device(),
    )
    for task, prompt in (("query", args.query_prompt), ("document", args.document_prompt)):
        if prompt is not None:
            model.prompts[task] = prompt
    if recorded_similarity(model) is None:
        raise InputError(f"'{checkpoint}' does not say what it compares by; choose --similarity dot or cosine.")
    if model.similarity_fn_name not in SIMILARITIES:
        raise InputError(f"'{checkpoint}' compares by '{model.similarity_fn_name}'; choose similarity dot or cosine.")
    if args.projection and not is_retriever(checkpoint):
        model = with_modules(model, [*model, *_projection(model, args)])
    if args.untied:
        model = untie(model)
    for transformer in transformers_of(model):
        _set_lengths(transformer, args)
        if args.dropout is not None:
            set_dropout(transformer.auto_model, args.dropout)
    return model


def with_encoder(retriever: str | Path, pretrained: Path, output_dir: Path) -> None:
    """Write a sentence-transformers model with the encoder of a Condenser checkpoint that was pre-trained from it.

    Pooling, projection, normalisation, similarity and prompts are the retriever's own; the record of the pre-training
    comes with it.

    Args:
        retriever: folder or Hub name of the sentence-transformers model; its first module is the encoder.
        pretrained: folder of the pre-training checkpoint.
        output_dir: where to write; a new folder.
    """
    model = as_retriever(retriever, device="cpu")
    (transformer,) = transformers_of(model)
    weights = load_pretraining_checkpoint(pretrained).get_backbone().state_dict()
    transformer.auto_model.load_state_dict(
        {name: value for name, value in weights.items() if not name.startswith("pooler.")}
    )
    save_portable(model, output_dir)
    write_json(output_dir / PRETRAINING, pretraining_without_paths(read_pretraining(pretrained / PRETRAINING)))


def _projection(model: SentenceTransformer, args: RetrieverTrainingArguments) -> list[torch.nn.Module]:
    """A linear layer without bias and, for cosines, the scaling to length 1 (GTR)."""
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    torch.manual_seed(args.seed)  # untied encoders, other processes and a second call get the same weights
    width = transformers_of(model)[0].get_embedding_dimension()
    dense = Dense(width, args.projection, bias=False, activation_function=torch.nn.Identity())
    return [dense, Normalize()] if model.similarity_fn_name == "cosine" else [dense]


def _fast_attention(precision: str) -> str | None:
    """On a CPU, sdpa's backward pass in bf16 is slower than eager's (by 30 % on Zen 4)."""
    if training_device().type != "cpu" or precision == "float16":
        return None
    return "eager" if resolve_precision(precision, torch.device("cpu")) == "bfloat16" else None


def untie(model: SentenceTransformer) -> SentenceTransformer:
    """Two encoders, one for queries and one for passages, both starting as copies of `model`."""
    from sentence_transformers.sentence_transformer.modules import Router

    if isinstance(model[0], Router):
        return model
    routes = [[copy.deepcopy(module) for module in model] for _ in range(2)]
    return with_modules(model, [Router.for_query_document(query_modules=routes[0], document_modules=routes[1])])


def _set_lengths(transformer: Any, args: RetrieverTrainingArguments) -> None:
    longest = max(args.query_length, args.passage_length)
    limit = usable_positions(transformer.auto_model) or longest
    transformer.query_length = min(args.query_length, limit)
    transformer.document_length = min(args.passage_length, limit)
    transformer.max_seq_length = min(longest, limit)
    if longest > limit:
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
