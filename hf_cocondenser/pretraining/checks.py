"""What `CondenserTrainer` looks at before anything is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_cocondenser.data.collator import CondenserCollator
from hf_cocondenser.errors import InputError
from hf_cocondenser.modeling_condenser import CondenserForPreTraining
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments
from hf_cocondenser.pretraining.callbacks import inner_datasets


def require_trainable(args: Any, train_dataset: Any, eval_dataset: Any, others: Mapping[str, Any]) -> None:
    """Refuse arguments of `CondenserTrainer` that it cannot do what they say with.

    Args:
        args: the training arguments.
        train_dataset: what is trained on.
        eval_dataset: what is evaluated on, or a dictionary of them.
        others: the other arguments of the constructor.

    Raises:
        InputError: one cannot be used.
    """
    if not isinstance(args, CondenserTrainingArguments):
        raise InputError(
            f"args are {type(args).__name__}; give CondenserTrainingArguments, which take the same names and 'stage'."
        )
    if others.get("compute_loss_func") is not None:
        raise InputError(
            "compute_loss_func is not used: the loss is made from chunks of a batch. "
            "Override chunk_loss, batch_loss or compute_loss of CondenserTrainer."
        )
    if args.n_gpu > 1:
        raise InputError(
            f"{args.n_gpu} GPUs in one process would use nn.DataParallel, which hides negatives; "
            "start with 'torchrun --nproc-per-node NUMBER' or set CUDA_VISIBLE_DEVICES to one."
        )
    batch = args.per_device_train_batch_size * args.world_size
    if hasattr(train_dataset, "__len__") and args.dataloader_drop_last and len(train_dataset) < batch:
        raise InputError(
            f"The spans hold {len(train_dataset)} training items, fewer than one global batch of {batch}: "
            "lower the batch size or add documents."
        )
    if args.stage == "cocondenser" and batch < 2:
        raise InputError("A batch of one document has no negatives: raise per_device_train_batch_size to 2 or more.")
    if args.stage == "cocondenser" and args.world_size > 1 and not args.dataloader_drop_last:
        raise InputError(
            "Without dataloader_drop_last several processes fill the last batch up with documents that it has "
            "already, which would be their own negatives; leave dataloader_drop_last on."
        )
    for dataset in (train_dataset, *(eval_dataset.values() if isinstance(eval_dataset, dict) else [eval_dataset])):
        _require_spans_of(args.stage, dataset)


def require_condenser(model: Any) -> None:
    """Refuse a model that is no Condenser, alone or inside a `PeftModel`.

    Raises:
        InputError: it is another model, or the name of one.
    """
    model = condenser_of(model)
    if not isinstance(model, CondenserForPreTraining):
        what = f"'{model}'" if isinstance(model, str) else f"a {type(model).__name__}"
        raise InputError(
            f"The model is {what}; give a CondenserForPreTraining: from_pretrained reads a Condenser checkpoint, "
            "from_backbone puts a fresh head on any other encoder."
        )


def condenser_of(model: Any) -> Any:
    """The model inside a `PeftModel`, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def default_collator(tokenizer: Any, train_dataset: Any, eval_dataset: Any) -> CondenserCollator | None:
    """The collator of a trainer that was given none, for rows as long as the data set's.

    Raises:
        InputError: there is no tokenizer to make it of.
    """
    if train_dataset is None and eval_dataset is None:
        return None
    if tokenizer is None:
        raise InputError(
            "There is no data_collator, and no tokenizer as processing_class from which to make one; give either."
        )
    evaluated = list(eval_dataset.values()) if isinstance(eval_dataset, dict) else [eval_dataset]
    lengths = [n for dataset in (train_dataset, *evaluated) if (n := find(dataset, "max_length")) is not None]
    return CondenserCollator(tokenizer, max_length=max(lengths, default=128))


def find(dataset: Any, name: str) -> Any:
    """An attribute of a data set, or of the first one inside it that has it."""
    if (value := getattr(dataset, name, None)) is not None:
        return value
    found = (find(inner, name) for inner in inner_datasets(dataset))
    return next((value for value in found if value is not None), None)


def _require_spans_of(stage: str, dataset: Any) -> None:
    pairs = find(dataset, "pairs")
    if pairs is not None and pairs != (stage == "cocondenser"):
        raise InputError(
            f"stage is '{stage}', but the data set draws {'two spans' if pairs else 'one span'} of a document: "
            f"make it with pairs={not pairs}, or choose stage '{'cocondenser' if pairs else 'condenser'}'."
        )
