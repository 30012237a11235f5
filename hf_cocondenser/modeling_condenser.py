"""Condenser models: the encoder, and the encoder with its Condenser head and MLM head for pre-training.

Luyu Gao and Jamie Callan, "Condenser: a Pre-training Architecture for Dense Retrieval", arXiv 2104.08253.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import ModelOutput, can_return_tuple, logging

from .backbones import (
    FAMILIES,
    build_condenser_head,
    build_masked_lm,
    last_block_at,
    mix,
    require_family,
    take_mlm_head,
)
from .configuration_condenser import CondenserConfig
from .errors import InputError
from .losses import linear_cross_entropy
from .shipped import checkpoint_path

logger = logging.get_logger(__name__)

_AUTO_MAP = {
    "AutoConfig": "configuration_condenser.CondenserConfig",
    "AutoModel": "modeling_condenser.CondenserModel",
    "AutoModelForMaskedLM": "modeling_condenser.CondenserForPreTraining",
    "AutoModelForPreTraining": "modeling_condenser.CondenserForPreTraining",
}


@dataclass
class CondenserOutput(ModelOutput):
    """Output of `CondenserForPreTraining`.

    Attributes:
        loss: sum of the parts, when `labels` are given; back-propagate through it once.
        head_mlm_loss: masked-token cross-entropy through the Condenser head, a figure without a graph.
        late_mlm_loss: the same from the last layer (with `late_mlm`).
        logits: (spans, length, vocabulary), only when no `labels` are given: of the last layer, or through the Condenser
            head where only that was trained to predict (without `late_mlm`).
        cls: the span vectors, the last layer's CLS (spans, hidden).
        hidden_states: of the backbone, with `output_hidden_states`.
        attentions: of the backbone, with `output_attentions`.
    """

    loss: Tensor | None = None
    head_mlm_loss: Tensor | None = None
    late_mlm_loss: Tensor | None = None
    logits: Tensor | None = None
    cls: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class CondenserPreTrainedModel(PreTrainedModel):
    """What both models share: configuration, weight initialisation by the backbone's family, remote code."""

    config_class = CondenserConfig
    base_model_prefix = "condenser"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def _init_weights(self, module: nn.Module) -> None:
        self.get_backbone()._init_weights(module)

    def get_backbone(self) -> PreTrainedModel:
        """The plain encoder of its family."""
        encoder: Any = getattr(self, "condenser", self)
        return encoder.backbone

    def get_input_embeddings(self) -> nn.Module:
        """The backbone's word embeddings."""
        return self.get_backbone().get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the backbone's word embeddings."""
        self.get_backbone().set_input_embeddings(value)

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Save with the code that `trust_remote_code=True` needs where this package is not installed."""
        self.config.auto_map = dict(_AUTO_MAP)
        super().save_pretrained(save_directory, **kwargs)


class CondenserModel(CondenserPreTrainedModel):
    """The encoder of a Condenser: the plain backbone, without any head.

    What `AutoModel.from_pretrained` gives for a pre-training checkpoint. The span vector is
    `last_hidden_state[:, 0]`.
    """

    _keys_to_ignore_on_load_unexpected = [r"^mlm_head\.", r"^head\."]  # noqa: RUF012

    def __init__(self, config: CondenserConfig, backbone: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        self.backbone = build_masked_lm(config.backbone_config).base_model if backbone is None else backbone
        self.post_init()

    def forward(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, **kwargs: Any
    ) -> BaseModelOutput:
        """Encode tokens (spans, length); arguments and output are the backbone's own."""
        for name in ("output_hidden_states", "output_attentions", "return_dict"):
            if kwargs.get(name) is None:
                kwargs[name] = getattr(self.config, name)
        return self.backbone(input_ids, attention_mask=attention_mask, **kwargs)


class CondenserForPreTraining(CondenserPreTrainedModel):
    """Encoder, Condenser head and MLM head: the model of both pre-training stages.

    Example:
        >>> from transformers import BertConfig
        >>> from hf_cocondenser import CondenserConfig, CondenserForPreTraining
        >>> backbone = BertConfig(vocab_size=99, hidden_size=32, num_hidden_layers=4, num_attention_heads=2)
        >>> model = CondenserForPreTraining(CondenserConfig(backbone))
        >>> model.config.skip_from
        2
    """

    # The gradient of a step must not depend on how a batch is cut up: our trainer does the counting.
    accepts_loss_kwargs = False

    def __init__(self, config: CondenserConfig) -> None:
        super().__init__(config)
        masked_lm = build_masked_lm(config.backbone_config)
        self.condenser = CondenserModel(config, masked_lm.base_model)
        self.mlm_head, self._tied_weights_keys = take_mlm_head(masked_lm)
        self.head = (
            build_condenser_head(config.backbone_config, config.n_head_layers) if config.n_head_layers else None
        )
        self.post_init()

    def _decoder(self) -> tuple[Tensor, Tensor | None]:
        """Weight (vocabulary, size) and bias (vocabulary,) that score the vocabulary."""
        family = FAMILIES[self.config.backbone_config.model_type]
        return family.decoder(self.mlm_head, self.get_input_embeddings())

    def get_output_embeddings(self) -> nn.Module | None:
        """The module whose weight scores the vocabulary; `None` where a family uses the word embeddings themselves."""
        weight, _ = self._decoder()
        return next((module for module in self.mlm_head.modules() if getattr(module, "weight", None) is weight), None)

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace the module whose weight scores the vocabulary, and what its bias is tied to."""
        old = self.get_output_embeddings()
        name = next(name for name, module in self.mlm_head.named_modules() if module is old)
        self.mlm_head.set_submodule(name, new_embeddings)
        if source := self._tied_weights_keys.get(f"mlm_head.{name}.bias"):
            owner, _, parameter = source.rpartition(".")
            setattr(self.get_submodule(owner), parameter, new_embeddings.bias)

    def _resize_token_embeddings(
        self, new_num_tokens: int | None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Module:
        embeddings = super()._resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)
        _, bias = self._decoder()  # transformers leaves that of a tied decoder as it is
        added = embeddings.num_embeddings - (embeddings.num_embeddings if bias is None else len(bias))
        if added:
            assert bias is not None
            bias.data = nn.functional.pad(bias.data, (0, added), value=float(bias.data.mean()))
        return embeddings

    def masked_token_loss(self, hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropies of masked tokens, hidden states (masked, hidden) and labels (masked,): sum, and each one's."""
        family = FAMILIES[self.config.backbone_config.model_type]
        weight, bias = self._decoder()
        return linear_cross_entropy(family.transform(self.mlm_head, hidden), weight, bias, labels)

    def mlm_logits(self, hidden: Tensor) -> Tensor:
        """Scores of every vocabulary entry, (..., vocabulary), for hidden states (..., hidden)."""
        family = FAMILIES[self.config.backbone_config.model_type]
        weight, bias = self._decoder()
        return nn.functional.linear(family.transform(self.mlm_head, hidden), weight, bias)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,
    ) -> CondenserOutput:
        """Predict masked tokens through the Condenser head (and from the last layer).

        Args:
            input_ids: (spans, length).
            attention_mask: (spans, length), 1 on tokens, 0 on padding, which must be on the right.
            labels: (spans, length), -100 where a token is not predicted.
            num_items_in_batch: what the summed cross-entropies are divided by; the masked tokens of this call by
                default. A caller that cuts a batch up gives the count of the whole.
            output_hidden_states: also give the backbone's hidden states.
            **kwargs: handed to the backbone (`token_type_ids`, `position_ids`, `output_attentions`, ...); `return_dict=False`
                gives a tuple.

        Raises:
            InputError: the batch is padded on the left.
        """
        if attention_mask is not None and not torch.compiler.is_compiling() and not attention_mask[:, 0].all():
            raise InputError(
                "The batch is padded on the left, so its first column is not CLS: pad on the right "
                "(tokenizer.padding_side = 'right')."
            )
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, **kwargs, "return_dict": True}
        # what was trained predicts: without late MLM the last layer was not
        head = self.head if labels is not None or not self.config.late_mlm else None
        # All layers are asked for: a list of layers means different things in different versions of transformers.
        states = self.condenser(**inputs, output_hidden_states=output_hidden_states or head is not None)
        late = states.last_hidden_state
        asked = {
            "hidden_states": states.hidden_states if output_hidden_states else None,
            "attentions": states.attentions,
        }
        through_head = late
        if head is not None:
            mixed = mix(states.hidden_states[self.config.skip_from], late)
            through_head = head(inputs_embeds=mixed, attention_mask=attention_mask).last_hidden_state
        if labels is None:
            return CondenserOutput(logits=self.mlm_logits(through_head), cls=late[:, 0], **asked)
        masked = labels != -100
        targets = labels[masked]
        count = max(targets.numel(), 1) if num_items_in_batch is None else num_items_in_batch
        predicted: dict[str, Tensor] = {}
        if head is not None:
            predicted["head_mlm_loss"] = through_head[masked]
        if self.config.late_mlm:
            predicted["late_mlm_loss"] = late[masked]
        # both at once: the vocabulary's gradient, as large as its weights, is made and added once
        loss, of_tokens = self.masked_token_loss(torch.cat([*predicted.values()]), targets.repeat(len(predicted)))
        parts = of_tokens.view(len(predicted), len(targets))
        figures = {name: part.sum() / count for name, part in zip(predicted, parts, strict=True)}
        return CondenserOutput(loss=loss / count, cls=late[:, 0], **figures, **asked)

    @contextmanager
    def last_blocks_at(self, labels: Tensor) -> Iterator[None]:
        """Inside, the last blocks do only what CLS and `forward(labels=labels)` need of them; the numbers are the same.

        Encode inside it too where dropout has to be the same as in `forward`. Not together with gradient
        checkpointing, which runs blocks again when this is over, or with `torch.compile`.

        Args:
            labels: (spans, length), -100 where a token is not predicted.
        """
        masked = labels != -100
        read = masked.clone() if self.config.late_mlm else torch.zeros_like(masked)
        read[:, 0] = True
        with ExitStack() as stack:
            stack.enter_context(last_block_at(self.get_backbone(), read))
            if self.head is not None:
                stack.enter_context(last_block_at(self.head, masked))
            yield

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, *args: Any, **kwargs: Any) -> Any:
        """Load a pre-training checkpoint, all of it.

        Args:
            pretrained_model_name_or_path: folder, Hub name, or the name of a shipped checkpoint.
            *args: see transformers.
            **kwargs: transformers' own (`dtype`, `revision`, `attn_implementation`, ...). With `device_map="auto"` the model
                is put on the accelerator, if there is one: all of it on one device.

        Raises:
            InputError: it is not a Condenser checkpoint, weights (the Condenser head's, say) are missing, or `device_map`
                spreads it over devices.
        """
        source = checkpoint_path(pretrained_model_name_or_path)
        kwargs |= _one_device(kwargs)
        wants_info = kwargs.pop("output_loading_info", False)
        settings, _ = PreTrainedConfig.get_config_dict(source, **_hub_arguments(kwargs))
        if settings.get("model_type") != CondenserConfig.model_type:
            raise InputError(
                f"'{source}' is a '{settings.get('model_type')}' checkpoint without a Condenser head; "
                f"start from it with `hf-cocondenser pretrain {source}` or CondenserForPreTraining.from_backbone('{source}')."
            )
        model, info = super().from_pretrained(source, *args, output_loading_info=True, **kwargs)
        missing = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
        if missing:
            part = (
                "its Condenser head"
                if all(key.startswith("head.") for key in missing)
                else f"weights ({missing[0]}, ...)"
            )
            raise InputError(
                f"'{source}' lacks {part}, and fresh ones would corrupt the encoder unnoticed; to start with a fresh head "
                f"on purpose use `pretrain --fresh-head` or CondenserForPreTraining.from_backbone('{source}')."
            )
        return (model, info) if wants_info else model

    @classmethod
    def from_backbone(
        cls,
        pretrained_model_name_or_path: str | Path | PreTrainedModel,
        *,
        n_head_layers: int = 2,
        skip_from: int | None = None,
        late_mlm: bool = True,
        dtype: torch.dtype | str = torch.float32,
        **kwargs: Any,
    ) -> CondenserForPreTraining:
        """Put a fresh Condenser head on any encoder checkpoint of a supported family.

        Args:
            pretrained_model_name_or_path: Hub name or folder, or a masked language model or encoder in memory, whose
                weights are copied; a Condenser gives its encoder and MLM head.
            n_head_layers: see `CondenserConfig`.
            skip_from: see `CondenserConfig`.
            late_mlm: see `CondenserConfig`.
            dtype: type of the master weights, whatever the checkpoint's; "auto" takes the checkpoint's.
            **kwargs: for the backbone's `from_pretrained` (`attn_implementation`, `revision`, ...).

        Raises:
            InputError: the family is not supported, `skip_from` is out of range or the encoder's weights are missing.
        """
        settings: dict[str, Any] = {"n_head_layers": n_head_layers, "skip_from": skip_from, "late_mlm": late_mlm}
        dtype = kwargs.pop("torch_dtype", dtype)  # transformers' older name
        if isinstance(pretrained_model_name_or_path, PreTrainedModel):
            return cls._from_memory(pretrained_model_name_or_path, settings, dtype)
        source = checkpoint_path(pretrained_model_name_or_path)
        kwargs |= _one_device(kwargs)
        backbone_config = AutoConfig.from_pretrained(source, **_hub_arguments(kwargs))
        is_condenser = backbone_config.model_type == CondenserConfig.model_type
        if is_condenser:
            backbone_config = backbone_config.backbone_config
        require_family(backbone_config)
        config = CondenserConfig(backbone_config, **settings)
        if is_condenser:
            model, info = super().from_pretrained(
                source, config=config, dtype=dtype, output_loading_info=True, **kwargs
            )
            missing = {key for key in info["missing_keys"] if not key.startswith(("head.", "mlm_head."))}
            fresh_mlm = any(key.startswith("mlm_head.") for key in info["missing_keys"])
        else:
            masked_lm, info = AutoModelForMaskedLM.from_pretrained(
                source, dtype=dtype, output_loading_info=True, **kwargs
            )
            model = cls._around(masked_lm, settings, masked_lm.dtype)
            prefix = f"{masked_lm.base_model_prefix}."
            missing = {key for key in info["missing_keys"] if key.startswith(prefix)}
            fresh_mlm = bool(info["missing_keys"] - missing)
        if missing:
            raise InputError(
                f"'{source}' lacks weights of its encoder ({min(missing)}, ...); it cannot be started from."
            )
        model.config.name_or_path = str(source)
        if fresh_mlm:
            _warn_of_fresh_mlm_head(source)
        return model

    @classmethod
    def _from_memory(
        cls, model: PreTrainedModel, settings: dict[str, Any], dtype: torch.dtype | str
    ) -> CondenserForPreTraining:
        """A Condenser with a fresh head around a copy of a Condenser, a masked language model or an encoder."""
        encoder = model.get_backbone() if isinstance(model, CondenserPreTrainedModel) else model.base_model
        require_family(encoder.config)
        masked_lm = build_masked_lm(encoder.config)
        masked_lm.base_model.load_state_dict(encoder.state_dict(), strict=False)
        if isinstance(model, CondenserForPreTraining):
            masked_lm.load_state_dict(model.mlm_head.state_dict(), strict=False)
        elif type(model) is type(masked_lm):
            masked_lm.load_state_dict(model.state_dict())
        else:
            _warn_of_fresh_mlm_head(type(model).__name__)
        condenser = cls._around(masked_lm, settings, model.dtype if dtype == "auto" else dtype)
        condenser.config.name_or_path = model.config.name_or_path
        return condenser.to(model.device)

    @classmethod
    def _around(
        cls, masked_lm: PreTrainedModel, settings: dict[str, Any], dtype: torch.dtype | str
    ) -> CondenserForPreTraining:
        """A Condenser whose encoder and MLM head are those of a loaded masked language model."""
        attention = masked_lm.config._attn_implementation  # the new configuration resets its parts'
        config = CondenserConfig(copy.deepcopy(masked_lm.config), **settings)
        model = cls._from_config(config, dtype=dtype, attn_implementation=attention)
        weights = {}
        prefix = f"{masked_lm.base_model_prefix}."
        for name, value in masked_lm.state_dict().items():
            inside = name.startswith(prefix)
            weights[f"condenser.backbone.{name.removeprefix(prefix)}" if inside else f"mlm_head.{name}"] = value
        missing, unexpected = model.load_state_dict(weights, strict=False)
        wrong = [key for key in missing if not key.startswith("head.")] + unexpected
        if wrong:
            raise InputError(f"The encoder's weights do not fit its configuration ({wrong[0]}, ...).")
        return model.to(masked_lm.device)


def _warn_of_fresh_mlm_head(source: str | Path) -> None:
    logger.warning(
        f"'{source}' has no MLM head: a fresh one was put on it, so the MLM losses start high; "
        "train the Condenser stage long enough before the coCondenser stage."
    )


def _one_device(kwargs: dict[str, Any]) -> dict[str, Any]:
    """What `device_map` says, if it says anything, for a model that is on one device."""
    device_map = kwargs.get("device_map")
    if device_map in ("auto", "balanced", "balanced_low_0", "sequential"):
        return {"device_map": {"": str(torch.accelerator.current_accelerator() or "cpu")}}
    if isinstance(device_map, dict) and len(set(map(str, device_map.values()))) > 1:
        raise InputError(
            "device_map spreads the model over several devices, but a Condenser is on one: give device_map='auto' or a device."
        )
    return {}


def _hub_arguments(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments that say where on the Hub something is."""
    names = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
    return {name: kwargs[name] for name in names if name in kwargs}


CondenserModel.register_for_auto_class("AutoModel")
CondenserForPreTraining.register_for_auto_class("AutoModelForPreTraining")
