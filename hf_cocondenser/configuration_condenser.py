"""Configuration of a Condenser: an encoder's own configuration plus the Condenser head's (arXiv 2104.08253)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from .errors import InputError


class CondenserConfig(PreTrainedConfig):
    """Configuration of `CondenserModel` and `CondenserForPreTraining`.

    Args:
        backbone_config: the encoder's configuration, or its dictionary with its `model_type`; BERT's by default.
        n_head_layers: blocks in the Condenser head. 0 leaves the head out: plain masked language modelling on the
            last layer, the baseline the papers compare with.
        skip_from: number of early layers; the head reads the tokens after this layer. Half the layers by default.
        late_mlm: also predict the masked tokens from the last layer.
        similarity: what span vectors are compared by, `dot` or `cosine`; `SentenceTransformer` reads it from the checkpoint.

    Raises:
        InputError: `skip_from` is not inside the backbone, nothing would be left to predict from, or there is no such
            similarity.
    """

    model_type = "condenser"
    sub_configs = {"backbone_config": AutoConfig}  # noqa: RUF012 - transformers reads it from the class
    has_no_defaults_at_init = True

    def __init__(
        self,
        backbone_config: Any = None,
        n_head_layers: int = 2,
        skip_from: int | None = None,
        late_mlm: bool = True,
        similarity: str = "dot",
        **kwargs: Any,
    ) -> None:
        if backbone_config is None:
            backbone_config = AutoConfig.for_model("bert")
        elif isinstance(backbone_config, dict):
            settings = dict(backbone_config)
            backbone_config = AutoConfig.for_model(settings.pop("model_type", "bert"), **settings)
        layers = backbone_config.num_hidden_layers
        self.backbone_config: PreTrainedConfig = backbone_config
        self.n_head_layers = n_head_layers
        self.skip_from = layers // 2 if skip_from is None else skip_from
        self.late_mlm = late_mlm
        self.similarity = similarity
        if similarity not in ("dot", "cosine"):
            raise InputError(f"similarity is '{similarity}'; choose one of dot, cosine.")
        if n_head_layers < 0:
            raise InputError(f"n_head_layers is {n_head_layers}; it must be 0 (no Condenser head) or more.")
        if n_head_layers == 0 and not late_mlm:
            raise InputError("Without a Condenser head (n_head_layers 0) the late MLM is all there is: set late_mlm.")
        if n_head_layers and not 1 <= self.skip_from < layers:
            raise InputError(
                f"skip_from is {self.skip_from}, but the backbone has {layers} layers: give a number from 1 to {layers - 1}."
            )
        kwargs["tie_word_embeddings"] = getattr(backbone_config, "tie_word_embeddings", True)
        super().__init__(**kwargs)

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Save with what tells sentence-transformers of CLS pooling and the similarity; it would guess others."""
        folder = Path(save_directory)
        kinds = {"": "Transformer", "1_Pooling": "Pooling"}
        modules = [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for number, (path, kind) in enumerate(kinds.items())
        ]
        pooling = {"word_embedding_dimension": self.hidden_size, "pooling_mode_cls_token": True}
        pooling["pooling_mode_mean_tokens"] = False
        (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
        for name, content in {
            "modules.json": modules,
            "1_Pooling/config.json": pooling,
            "config_sentence_transformers.json": {"similarity_fn_name": self.similarity},
        }.items():
            (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        super().save_pretrained(save_directory, **kwargs)

    @property
    def hidden_size(self) -> int:
        """Size of the hidden states and of the CLS vector."""
        return self.backbone_config.hidden_size

    @property
    def num_hidden_layers(self) -> int:
        """Layers of the backbone."""
        return self.backbone_config.num_hidden_layers

    @property
    def vocab_size(self) -> int:
        """Entries of the vocabulary."""
        return self.backbone_config.vocab_size

    @vocab_size.setter
    def vocab_size(self, value: int) -> None:
        """Set the backbone's, as `resize_token_embeddings` does."""
        self.backbone_config.vocab_size = value

    @property
    def max_position_embeddings(self) -> int:
        """Longest input in tokens, special tokens included (RoBERTa-likes: two more than usable)."""
        return self.backbone_config.max_position_embeddings

    @property
    def pad_token_id(self) -> int | None:
        """The backbone's padding token."""
        return getattr(self.backbone_config, "pad_token_id", None)

    @pad_token_id.setter
    def pad_token_id(self, value: int | None) -> None:
        """Accept what transformers' base class sets: the backbone's value is the one that counts."""


CondenserConfig.register_for_auto_class()
