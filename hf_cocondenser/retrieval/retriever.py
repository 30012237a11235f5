"""Retrievers in memory, made from any checkpoint."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from hf_cocondenser.backbones import is_decoder, is_t5, usable_positions
from hf_cocondenser.configuration_condenser import CondenserConfig
from hf_cocondenser.data.tokenizer import load_tokenizer, tokenizer_hash
from hf_cocondenser.errors import InputError
from hf_cocondenser.modeling_condenser import CondenserModel, CondenserPreTrainedModel
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.checkpoint import load_pretraining_checkpoint
from hf_cocondenser.utils.hashes import hash_weights
from hf_cocondenser.utils.loading import load_whole, loading, refuse_classifier

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

_LONGEST_BY_DEFAULT = 512
_WITHOUT_EFFECT = ("_name_or_path", "transformers_version", "architectures", "auto_map", "dtype", "use_cache")


def load_retriever(name_or_path: str | Path, device: str | None = None) -> SentenceTransformer:
    """Load a retriever: a sentence-transformers folder or Hub repository, or the encoder of a Condenser checkpoint.

    Example:
        >>> load_retriever("cocondenser-tiny").similarity_fn_name
        'dot'

    Raises:
        InputError: nothing is there, weights or the tokenizer are missing, or it is a cross-encoder or a plain encoder,
            which has no pooling and score function of its own.
    """
    return as_retriever(name_or_path, device=device)


def as_retriever(
    checkpoint: str | Path | CondenserPreTrainedModel,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    pooling: str | None = None,
    similarity: str | None = None,
    attention: str | None = None,
    device: str | None = None,
) -> SentenceTransformer:
    """Make a retriever in memory from any checkpoint, in float32: the one way to it in this package.

    A sentence-transformers model is taken as it is. The encoder of a Condenser gets CLS pooling and the similarity that
    it was pre-trained for. A plain encoder gets the `pooling` that is named. Whatever it was, adapters are merged
    into the weights, texts are padded on the right, so that no vector depends on the texts beside it, and cut where the
    positions end.

    Args:
        checkpoint: a folder, a Hub name or the name of a shipped checkpoint; or a Condenser in memory, which is copied.
        tokenizer: of a Condenser in memory.
        pooling: of a Condenser or a plain encoder: `cls`, `mean`, `lasttoken`, or `auto`; None refuses a plain encoder.
        similarity: `dot` or `cosine`, in the place of the checkpoint's own.
        attention: attention implementation, such as `eager`.
        device: where to put it; None leaves the choice to sentence-transformers.

    Raises:
        InputError: nothing is there or it cannot be read, weights or words are missing, model and tokenizer do not fit,
            or the pooling does not suit the model.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    name = checkpoint if isinstance(checkpoint, str | Path) else type(checkpoint).__name__
    options: dict[str, Any] = {"dtype": torch.float32} | ({"attn_implementation": attention} if attention else {})
    model_type = _model_type(checkpoint) if isinstance(checkpoint, str | Path) else CondenserConfig.model_type
    if model_type is None:
        place = str(checkpoint_path(name))
        model = load_whole(SentenceTransformer, "The retriever", place, device=device, model_kwargs=options).float()
    else:
        if model_type == CondenserConfig.model_type:
            if isinstance(checkpoint, str | Path):
                tokenizer = tokenizer or load_tokenizer(checkpoint)
                condenser = load_pretraining_checkpoint(checkpoint)
                encoder = condenser.get_backbone()
            else:
                condenser, encoder = checkpoint, copy.deepcopy(checkpoint.get_backbone())
            transformer = _transformer_of(encoder, tokenizer, attention)
            similarity = similarity or condenser.config.similarity
            pooling = "cls" if pooling in (None, "auto") else pooling
        elif pooling is None:
            raise InputError(
                f"'{name}' is a plain {model_type} encoder without modules.json, so its pooling and similarity are unknown. "
                f"Train a retriever from it with `hf-cocondenser finetune {name}`."
            )
        else:
            transformer = load_whole(Transformer, "The checkpoint", name, model_kwargs=options)
            pooling = _suitable_pooling(transformer, pooling, name)
            logger.info("%s is a plain checkpoint: it gets %s pooling and the %s.", name, pooling, similarity or "dot")
        modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling)]
        model = SentenceTransformer(modules=modules, similarity_fn_name=similarity or "dot", device=device)
    for transformer in transformers_of(model):
        _make_sound(transformer, name)
    if similarity is not None:
        model.similarity_fn_name = similarity
    return model


def is_retriever(name: str | Path) -> bool:
    """Whether a checkpoint is a sentence-transformers model, with a pooling of its own.

    Raises:
        InputError: there is nothing of that name.
    """
    return _model_type(name) is None


def _model_type(name: str | Path) -> str | None:
    """The `model_type` of a checkpoint that is not a retriever; None for a sentence-transformers model."""
    from sentence_transformers.util import is_sentence_transformer_model

    place = checkpoint_path(name)
    path = Path(place)
    if path.is_dir() and not any((path / file).is_file() for file in ("modules.json", "config.json")):
        raise InputError(f"'{path}' is not a retriever: it has neither modules.json nor config.json.")
    if path.exists() and not path.is_dir():
        raise InputError(f"'{path}' is a file; name the folder of a retriever.")
    with loading("The checkpoint", name):
        refuse_classifier(place)
        with suppress(OSError):  # a sentence-transformers model may have its configuration in a folder of its own
            # a pre-training checkpoint tells sentence-transformers its pooling, but is no retriever yet
            config = PreTrainedConfig.get_config_dict(place)[0]
            # what sentence-transformers saves of one has lost its head, and is a retriever
            if config.get("model_type") == CondenserConfig.model_type and not _is_encoder_alone(config, path):
                return CondenserConfig.model_type
        names = [str(name)] if "/" in str(name) else [f"sentence-transformers/{name}", str(name)]
        in_folder = (path / "modules.json").is_file()
        if in_folder or (not path.is_dir() and any(is_sentence_transformer_model(each) for each in names)):
            return None
        return str(PreTrainedConfig.get_config_dict(place)[0].get("model_type", "unknown"))


def _is_encoder_alone(config: dict[str, Any], path: Path) -> bool:
    return config.get("architectures") == [CondenserModel.__name__] and (path / "modules.json").is_file()


def _transformer_of(encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, attention: str | None) -> Any:
    """A Condenser's encoder as a Transformer module."""
    from sentence_transformers.sentence_transformer.modules import Transformer

    if tokenizer is None:
        raise InputError("A model in memory has no tokenizer: give the one it was pre-trained with.")
    if attention is not None:
        encoder.set_attn_implementation(attention)

    class Around(Transformer):
        """A Transformer module around an encoder that is there already."""

        def _load_model(self, *args: Any, **kwargs: Any) -> PreTrainedModel:
            return encoder

    with TemporaryDirectory() as folder:  # for the configuration and the tokenizer, which Transformer reads from files
        encoder.config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        transformer: Any = Around(folder)
    transformer.__class__ = Transformer
    transformer.tokenizer.name_or_path = tokenizer.name_or_path
    transformer.max_seq_length = usual_length(encoder)
    return transformer


def merge_adapters(encoder: PreTrainedModel) -> None:
    """Add peft's adapters to the weights of an encoder and take them away, in place."""
    for name, layer in list(encoder.named_modules()):
        if hasattr(layer, "base_layer"):
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(encoder.get_submodule(parent), child, layer.get_base_layer())
    if getattr(encoder, "_hf_peft_config_loaded", False):
        encoder._hf_peft_config_loaded = False
        encoder._weight_conversions = None  # transformers would save the weights under the adapter file's names
        del encoder.peft_config


def _suitable_pooling(transformer: Any, pooling: str, name: str | Path) -> str:
    """What `auto` means for a plain checkpoint: the token that has seen the whole text, or the mean where there is none."""
    config, tokenizer = transformer.auto_model.config, transformer.tokenizer
    if is_decoder(config):
        if pooling == "cls":
            raise InputError(
                f"'{name}' is a decoder ({config.model_type}): its first token sees no other, so that all vectors would be "
                "equal. Choose pooling auto, which takes the last token, or mean."
            )
        return "lasttoken" if pooling == "auto" else pooling
    if pooling != "auto":
        return pooling
    has_cls = not is_t5(config) and (tokenizer.cls_token_id is not None or tokenizer.bos_token_id is not None)
    return "cls" if has_cls else "mean"


def _make_sound(transformer: Any, name: str | Path) -> None:
    """See to wrappers, adapters, poolers, padding and lengths.

    Raises:
        InputError: the tokenizer does not fit the encoder, or has no token to pad with.
    """
    encoder, tokenizer = transformer.auto_model, transformer.tokenizer
    if isinstance(encoder, CondenserPreTrainedModel):
        transformer.model = encoder = encoder.get_backbone()  # loads where this package is not installed
    merge_adapters(encoder)
    # sentence-transformers never uses a pooler; its random weights would go into the retriever, and as unused
    # parameters they keep DDP from synchronising the gradients, silently.
    if getattr(encoder, "pooler", None) is not None and transformer.module_output_name == "token_embeddings":
        encoder.pooler = None
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        return
    require_fitting(tokenizer, encoder, name)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        if tokenizer.pad_token_id is None:
            raise InputError(f"The tokenizer of '{name}' has no padding token; add one (tokenizer.pad_token = ...).")
    if encoder.config.pad_token_id is None:
        encoder.config.pad_token_id = tokenizer.pad_token_id
    tokenizer.padding_side = "right"
    limit = usable_positions(encoder)
    for length in ("max_seq_length", "query_length", "document_length"):
        asked = getattr(transformer, length, None)
        if limit is not None and asked is not None and asked > limit:
            setattr(transformer, length, limit)


def require_fitting(tokenizer: PreTrainedTokenizerBase, encoder: PreTrainedModel, name: str | Path) -> None:
    """Refuse a tokenizer that is not the encoder's.

    Raises:
        InputError: it has more entries than the encoder.
    """
    rows = encoder.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise InputError(
            f"The tokenizer of '{name}' has {len(tokenizer)} entries but the encoder only {rows}: "
            "give the tokenizer it was pre-trained with, or resize the encoder's embeddings."
        )


def usual_length(encoder: PreTrainedModel) -> int:
    """Tokens per text of a retriever of which nobody said otherwise."""
    return min(usable_positions(encoder) or _LONGEST_BY_DEFAULT, _LONGEST_BY_DEFAULT)


def transformers_of(model: SentenceTransformer) -> list[Any]:
    """The Transformer modules of a retriever, one or (untied) two."""
    from sentence_transformers.sentence_transformer.modules import Transformer

    return [module for module in model.modules() if isinstance(module, Transformer)]


def with_modules(model: SentenceTransformer, modules: Sequence[torch.nn.Module]) -> SentenceTransformer:
    """Other modules with all other settings of a retriever: similarity, prompts, truncation and device."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(
        modules=list(modules),
        similarity_fn_name=model._similarity_fn_name,  # type: ignore[arg-type]
        prompts=model.prompts,
        default_prompt_name=model.default_prompt_name,
        truncate_dim=model.truncate_dim,
        device=str(model.device),
    )


def fingerprint(model: torch.nn.Module) -> str:
    """SHA-256 (hex) of all that a model's output depends on: weights, configurations, modules, tokenizers, prompts, lengths.

    Args:
        model: a retriever, a cross-encoder, or another module around one.
    """
    from sentence_transformers.base.modules import Module

    digest = hashlib.sha256()
    hash_weights(digest, model)
    parts: list[Any] = []
    names = ("kind", "settings", "prompts", "default_prompt_name", "max_seq_length", "truncate_dim")
    for module in model.modules():
        own = {name: getattr(module, name) for name in names if hasattr(module, name)}
        if isinstance(module, Module):
            own["module"] = [type(module).__name__, module.get_config_dict()]
        if isinstance(module, PreTrainedModel):
            own["config"] = {k: v for k, v in module.config.to_dict().items() if k not in _WITHOUT_EFFECT}
        tokenizer = getattr(module, "tokenizer", None)
        if isinstance(tokenizer, PreTrainedTokenizerBase):
            # Not what the tokenizer's last call left set: the lengths above say that.
            own["tokenizer"] = tokenizer_hash(tokenizer) if tokenizer.is_fast else repr(tokenizer)
        if own:
            parts.append(own)
    digest.update(json.dumps(parts, sort_keys=True, default=str).encode())
    return digest.hexdigest()
