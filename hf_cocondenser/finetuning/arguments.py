"""Arguments of fine-tuning: sentence-transformers' own, what the loss needs, and how a retriever is made of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import torch
from sentence_transformers import SentenceTransformerTrainingArguments
from transformers import TrainingArguments

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.encode import resolve_precision
from hf_cocondenser.utils.distributed import processes, training_device
from hf_cocondenser.utils.options import (
    Bounds,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ProperShare,
    Seed,
    check,
    option,
)

Length = Annotated[int, Bounds(at_least=3)]
"""Two special tokens and a token."""

_LEAST_FLOAT16_TEMPERATURE = 0.02
_UNNAMED = "trainer_output"  # what transformers calls a folder that nobody named


@dataclass
class RetrieverTrainingArguments(SentenceTransformerTrainingArguments):
    """`SentenceTransformerTrainingArguments` for contrastive training with hard negatives.

    Everything of transformers keeps its name and meaning: `report_to`, `lr_scheduler_type`, `gradient_accumulation_steps`,
    `activation_checkpointing`, `eval_strategy` ("no" measures nothing on the way), `save_steps` and the rest. Steps below
    1 are shares of a training, as in transformers. `bf16` is on where the hardware multiplies it, unless it is set.
    `optim="adafactor"` is T5's: steps relative to the size of each weight matrix.

    Raises:
        InputError: a value is out of its range, or two options exclude each other.

    Example:
        >>> args = RetrieverTrainingArguments(learning_rate=1e-5, max_steps=500, use_cpu=True)
        >>> args.per_device_train_batch_size, args.directions
        (64, 'forward')
    """

    output_dir: str | None = option(None, "folder that becomes the retriever; its steps/ holds the way there")
    num_train_epochs: PositiveFloat | None = option(
        None,
        "passes over the training queries, per round (default: 3, or up to 80 in at most 1,000 steps, until the development"
        " measure has stopped rising; without a development set at most 300 steps; adapt: 3)",
        aliases=["--epochs"],
    )
    max_steps: int = option(-1, "optimizer steps per round, instead of epochs (-1: by epochs)")
    per_device_train_batch_size: PositiveInt = option(
        64, "queries per device and step; all their passages are each other's negatives", aliases=["--batch-size"]
    )
    negatives_per_query: NonNegativeInt = option(
        1, "hard negatives per query and step, drawn anew each epoch", group="loss"
    )
    learning_rate: PositiveFloat = option(2e-5, "peak learning rate (the papers' is 5e-6 for BERT-base)")
    warmup_steps: float = option(0.1, "steps with a rising learning rate; below 1: a share of all steps")
    weight_decay: float = option(0.01, "the optimizer's weight decay")
    temperature: PositiveFloat | None = option(
        None, "similarities are divided by it (default: the one that calibrates the start)", group="loss"
    )
    similarity: Literal["dot", "cosine"] | None = option(
        None, "what vectors are compared by (default: the start's own; dot for a bare checkpoint)", group="loss"
    )
    directions: Literal["forward", "sum", "mean"] = option(
        "forward", "query to passage; or also back, summed or averaged", group="loss"
    )
    gradient_cache: bool = option(
        False, "large batches in little memory, for a second forward pass; same gradient", group="loss"
    )
    chunk_tokens: PositiveInt = option(
        8192, "tokens that go through the model at once (texts are sorted by length first)", group="loss"
    )
    query_length: Length = option(64, "longest query in tokens", group="model")
    passage_length: Length = option(256, "longest passage in tokens", group="model")
    query_prompt: str | None = option(
        None, "text in front of every query, in training and afterwards (default: the start's own)", group="model"
    )
    document_prompt: str | None = option(
        None, "text in front of every document, in training and afterwards (default: the start's own)", group="model"
    )
    dropout: ProperShare | None = option(None, "dropout in training (default: the checkpoint's own)", group="model")
    pooling: Literal["cls", "mean", "lasttoken"] | None = option(
        None,
        "pooling of a plain checkpoint (default: cls, mean where there is no CLS token (T5), lasttoken for a decoder)",
        group="model",
    )
    projection: PositiveInt | None = option(
        None,
        "put a linear layer to so many dimensions behind a plain checkpoint's pooling (default: none)",
        group="model",
    )
    attn_implementation: str | None = option(
        None, "attention implementation: eager, sdpa, ... (default: the fastest known)", group="model"
    )
    untied: bool = option(False, "two encoders, one for queries and one for passages", group="model")
    lora_rank: PositiveInt | None = option(
        None,
        "train low-rank adapters of this rank and merge them at the end (needs the extra 'lora'; default: none)",
        group="model",
    )
    vocabulary: PositiveInt = option(
        8192, "tokens of the tokenizer that is trained for a fresh encoder (t5:LAYERSxHIDDEN)", group="model"
    )
    seed: Seed = option(42, "seed of sampling, dropout and the held-out queries")
    bf16: bool | None = option(None, "train in bfloat16 (default: where the hardware multiplies it)")
    learning_rate_mapping: str | None | dict[str, float] = option(  # noqa: RUF036 (HfArgumentParser needs the order)
        None, "other learning rates for some weights, as JSON: pattern of their names -> rate", group="model"
    )
    eval_strategy: Literal["no", "steps", "epoch"] = option(
        "steps", "when to measure the development set: steps, epoch or no"
    )
    eval_steps: float | None = option(0.1, "steps between measurements; below 1: a share of all steps")
    save_steps: float = option(0.1, "steps between checkpoints; below 1: a share of all steps")
    save_total_limit: int | None = option(2, "checkpoints to keep while training")
    logging_steps: float = option(0.05, "steps between lines of the log; below 1: a share of all steps")
    logging_nan_inf_filter: bool = option(False, "hide NaN losses from the log")
    ddp_find_unused_parameters: bool | None = option(False, "DDP: parameters without a gradient are frozen")
    ddp_timeout: int = option(172_800, "seconds that a process waits for another")

    # What nothing here reads cannot be set.
    batch_sampler: Any = field(default="batch_sampler", init=False)
    multi_dataset_batch_sampler: Any = field(default="proportional", init=False)
    prompts: Any = field(default=None, init=False)
    router_mapping: Any = field(default=None, init=False)
    label_names: list[str] | None = field(default=None, init=False)
    label_smoothing_factor: float = field(default=0.0, init=False)
    train_sampling_strategy: str = field(default="random", init=False)
    length_column_name: str = field(default="length", init=False)
    auto_find_batch_size: bool = field(default=False, init=False)
    remove_unused_columns: bool = field(default=True, init=False)
    per_device_eval_batch_size: int = field(default=8, init=False)
    prediction_loss_only: bool = field(default=True, init=False)
    eval_do_concat_batches: bool = field(default=True, init=False)
    eval_use_gather_object: bool = field(default=False, init=False)
    eval_accumulation_steps: int | None = field(default=None, init=False)
    batch_eval_metrics: bool = field(default=False, init=False)
    load_best_model_at_end: bool = field(default=False, init=False)
    metric_for_best_model: str | None = field(default=None, init=False)
    greater_is_better: bool | None = field(default=None, init=False)
    eval_on_start: bool = field(default=False, init=False)
    ignore_data_skip: bool = field(default=False, init=False)
    do_train: bool = field(default=False, init=False)
    do_eval: bool = field(default=False, init=False)
    do_predict: bool = field(default=False, init=False)
    resume_from_checkpoint: str | None = field(default=None, init=False)
    warmup_ratio: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.eval_strategy = getattr(self.eval_strategy, "value", self.eval_strategy)  # transformers' own, of a copy
        check(self)
        processes()  # before transformers, whose processes would wait for each other half an hour at most
        if training_device().type == "cpu":
            self.use_cpu = True
        if self.bf16 is None:
            device = torch.device("cpu") if self.use_cpu else training_device()
            self.bf16 = not self.fp16 and resolve_precision("auto", device) == "bfloat16"
        if self.fp16 and self.use_cpu:
            raise InputError("float16 trains on a GPU only; leave fp16 out.")
        if self.untied and self.lora_rank:
            raise InputError("LoRA on untied encoders is not offered; choose one of untied and lora_rank.")
        if self.temperature is not None:
            self.require_safe(self.temperature)
        super().__post_init__()
        if self.activation_checkpointing and not getattr(self, "activation_checkpointing_kwargs", None):
            self.activation_checkpointing_kwargs = {"use_reentrant": False}  # as the gradient cache needs it

    def changed(self, **changes: Any) -> RetrieverTrainingArguments:
        """A copy with some of the arguments changed."""
        return replace(self, **changes)

    def named_folder(self) -> str:
        """The output folder.

        Raises:
            InputError: none was named.
        """
        if self.output_dir in (None, _UNNAMED):
            raise InputError("The output folder is missing; name it with --output-dir.")
        return str(self.output_dir)

    @property
    def precision(self) -> str:
        """What the training computes in: `bfloat16`, `float16` or `float32`."""
        return "float16" if self.fp16 else "bfloat16" if self.bf16 else "float32"

    @property
    def length_is_open(self) -> bool:
        """Whether neither steps nor epochs were named."""
        return self.num_train_epochs is None and self.max_steps <= 0

    @property
    def adafactor(self) -> bool:
        """Whether the optimizer is Adafactor."""
        return str(getattr(self.optim, "value", self.optim)) == "adafactor"

    @property
    def measures(self) -> bool:
        """Whether the development set is measured on the way."""
        return self.eval_strategy != "no"

    def require_safe(self, temperature: float) -> None:
        """Refuse a temperature that float16 cannot follow: its gradients overflow under the steep softmax.

        Raises:
            InputError: it is under 0.02 and the training is in float16.
        """
        if self.fp16 and temperature < _LEAST_FLOAT16_TEMPERATURE:
            raise InputError(
                f"float16 overflows at the temperature {temperature:g} (under {_LEAST_FLOAT16_TEMPERATURE}); train in"
                " bfloat16 or float32: leave fp16 out."
            )

    def to_dict(self) -> dict[str, Any]:
        """All that can be set, as JSON values (sentence-transformers' own expects its samplers)."""
        return TrainingArguments.to_dict(self)
