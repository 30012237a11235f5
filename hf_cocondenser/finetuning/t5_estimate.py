"""What training a T5 encoder takes, before it starts: memory of one device, and arithmetic."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_cocondenser.backbones import is_t5
from hf_cocondenser.finetuning.arguments import RetrieverTrainingArguments
from hf_cocondenser.finetuning.fresh_t5 import fresh_t5_config, is_fresh_t5
from hf_cocondenser.utils.distributed import processes

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

logger = logging.getLogger(__name__)

_SIZES = {  # of T5 1.0: layers, width, feed-forward, heads, width of a head
    "base": (12, 768, 3072, 12, 64),
    "large": (24, 1024, 4096, 16, 64),
    "xl": (24, 1024, 16384, 32, 128),
    "xxl": (24, 1024, 65536, 128, 128),
}
_A100 = 0.4 * 312e12  # floating point operations a second: 40 % of what an A100 does at best in bfloat16


@dataclass(frozen=True)
class CostEstimate:
    """An estimate for one device.

    Attributes:
        name: of the model.
        parameters: of encoder and projection.
        trained: of these; fewer with LoRA.
        weights, gradients, optimizer, activations: bytes.
        operations: floating point operations of a step, on this device.
    """

    name: str
    parameters: int
    trained: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    operations: float

    @property
    def memory(self) -> int:
        """All of it, in bytes."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def hours(self, steps: int, operations_per_second: float = _A100) -> float:
        """How long so many steps take at a given speed (by default an A100 that reaches 40 % of its best)."""
        return steps * self.operations / operations_per_second / 3600


def t5_size(name: str) -> PreTrainedConfig:
    """The configuration of T5 1.0 in one of GTR's sizes: base, large, xl or xxl."""
    from transformers import T5Config

    layers, width, forward, heads, head = _SIZES[name]
    return T5Config(num_layers=layers, d_model=width, d_ff=forward, num_heads=heads, d_kv=head)


def estimate_cost(model: PreTrainedConfig, args: RetrieverTrainingArguments, name: str = "model") -> CostEstimate:
    """Estimate memory and arithmetic of a training step, every text as long as it may be.

    Weights, gradients and AdamW's two moments are float32; bfloat16 keeps a second copy of the weights while it
    computes. Activations are those of one chunk with the gradient cache, else those of the whole batch; with activation
    checkpointing one vector per token and layer stays, and one layer is computed again at a time. The cache adds a
    forward pass, checkpointing another.

    Args:
        model: a configuration of T5's family.
        args: lengths, batch, precision, optimizer and the rest.
        name: what to call it.
    """
    shape: Any = model
    inner, gated = shape.num_heads * shape.d_kv, bool(getattr(shape, "is_gated_act", False))
    matrices = [(shape.d_model, inner)] * 4 + [(shape.d_model, shape.d_ff)] * (3 if gated else 2)
    layer = sum(rows * columns for rows, columns in matrices)
    projection = (args.projection or 0) * shape.d_model
    norms = (2 * shape.num_layers + 1) * shape.d_model
    bias = shape.relative_attention_num_buckets * shape.num_heads
    parameters = shape.num_layers * layer + shape.vocab_size * shape.d_model + norms + bias + projection
    trained, rank = parameters, args.lora_rank or 0
    if rank:
        trained = shape.num_layers * rank * sum(rows + columns for rows, columns in matrices) + projection
    half = args.precision != "float32"
    moments = 8 * trained
    if args.adafactor:  # a row and a column of each matrix
        moments = 4 * (shape.num_layers * sum(rows + columns for rows, columns in matrices) + shape.vocab_size)
        moments = min(moments, 4 * trained)
    passages = (1 + args.negatives_per_query) * args.passage_length
    tokens = args.per_device_train_batch_size * (args.query_length + passages)
    kept = min(tokens, max(args.chunk_tokens, args.passage_length)) if args.gradient_cache else tokens
    per_layer = kept * _saved_per_token(shape, inner, gated, args.passage_length) * (2 if half else 4)
    activations = per_layer * shape.num_layers
    if args.activation_checkpointing:
        activations = per_layer + kept * shape.d_model * 4 * shape.num_layers
    attention = 4 * inner * args.passage_length * shape.num_layers
    forward = tokens * (2 * shape.num_layers * layer + attention)
    backward = 1 if rank else 2  # adapters need no gradient of the frozen matrices
    passes = 1 + backward + args.gradient_cache + bool(args.activation_checkpointing)
    return CostEstimate(
        name=name,
        parameters=parameters,
        trained=trained,
        weights=parameters * (6 if half else 4),
        gradients=4 * trained,
        optimizer=moments,
        activations=int(activations),
        operations=float(forward * passes),
    )


def _saved_per_token(shape: Any, inner: int, gated: bool, length: int) -> float:
    """Numbers that a layer keeps per token for its backward pass, counted on transformers' T5 with sdpa."""
    norms = 6 * shape.d_model  # input, scaled input and output, before attention and feed-forward
    attention = 4 * inner + shape.num_heads * length  # queries, keys, values, result; the weights
    return norms + attention + (4 if gated else 1) * shape.d_ff


def log_estimates(checkpoint: str | Path, args: RetrieverTrainingArguments) -> None:
    """Log what training this model takes, beside GTR's four sizes; says nothing of models that are not T5's."""
    shape = _shape(checkpoint, args)
    if shape is None:
        return
    rows = [estimate_cost(shape, args, "this model")]
    rows += [estimate_cost(t5_size(name), args, f"T5 {name}") for name in _SIZES]
    logger.info(
        "Estimate per device (there: %d), %s queries a step of %d tokens, %s passages of %d (less where texts are shorter):",
        processes().num_processes,
        f"{args.per_device_train_batch_size:,}",
        args.query_length,
        f"{args.per_device_train_batch_size * (1 + args.negatives_per_query):,}",
        args.passage_length,
    )
    for row in rows:
        gib = [part / 2**30 for part in (row.memory, row.weights, row.gradients, row.optimizer, row.activations)]
        logger.info(
            "  %-10s %6s parameters; %7.1f GiB (weights %.1f, gradients %.1f, optimizer %.1f, activations %.1f);"
            " %.2g PFLOP a step, %.3g hours per 1,000 steps at 125 TFLOP/s",
            row.name,
            _short(row.parameters),
            *gib,
            row.operations / 1e15,
            row.hours(1000),
        )


def _short(number: int) -> str:
    return f"{number / 1e9:.2f}B" if number >= 1e9 else f"{number / 1e6:.1f}M"


def _shape(checkpoint: str | Path, args: RetrieverTrainingArguments) -> PreTrainedConfig | None:
    from transformers import AutoConfig

    if is_fresh_t5(checkpoint):
        return fresh_t5_config(str(checkpoint), args.vocabulary)
    try:
        found = AutoConfig.from_pretrained(str(checkpoint))
    except (OSError, ValueError):
        return None  # what cannot be read is told where it is loaded
    return found if is_t5(found) else None
