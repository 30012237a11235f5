"""Pre-training from a span folder to a checkpoint: what `hf-cocondenser pretrain` runs."""

from __future__ import annotations

import logging
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, BertConfig, PreTrainedConfig, PreTrainedTokenizerBase, PrinterCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import IntervalStrategy

from hf_cocondenser.backbones import set_dropout, usable_positions
from hf_cocondenser.configuration_condenser import CondenserConfig
from hf_cocondenser.data.collator import CondenserCollator
from hf_cocondenser.data.dataset import SpanDataset
from hf_cocondenser.data.store import SpanStore, read_manifest
from hf_cocondenser.data.tokenizer import TOKENIZER_FOLDER, load_tokenizer
from hf_cocondenser.errors import InputError
from hf_cocondenser.modeling_condenser import CondenserForPreTraining
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments, ModelOptions
from hf_cocondenser.pretraining.latent_start import start_from_documents
from hf_cocondenser.pretraining.record import HEAD, record_of, scale_like
from hf_cocondenser.pretraining.run import (
    RUN,
    finished_in,
    require_reporters,
    run_identity,
    take_up,
)
from hf_cocondenser.pretraining.trainer import CondenserTrainer
from hf_cocondenser.shipped import checkpoint_path
from hf_cocondenser.utils.checkpoint import condenser_place
from hf_cocondenser.utils.distributed import on_first, working_in
from hf_cocondenser.utils.files import absolute_if_there, write_json
from hf_cocondenser.utils.loading import loading, refuse_classifier
from hf_cocondenser.utils.progress import fit_to_output
from hf_cocondenser.utils.records import FILES, require_unchanged, warn_of_changed_weights, write_record

logger = logging.getLogger(__name__)

_NEW_BERT = re.compile(r"bert:(\d+)x(\d+)")


def load_model(
    start: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    options: ModelOptions,
    *,
    use_cpu: bool = False,
    bf16: bool = False,
) -> CondenserForPreTraining:
    """Make the model that training starts from, with float32 master weights.

    Args:
        start: a Condenser checkpoint (continued as it is, unless `options.fresh_head`), another encoder checkpoint (gets
            a fresh head), a JSON configuration of an encoder, or `bert:LAYERSxHIDDEN`; the last two have random weights.
        tokenizer: the spans' tokenizer; fresh configurations take vocabulary and padding from it.
        options: of the model.
        use_cpu: train on the CPU although there is an accelerator.
        bf16: train in bf16, which decides which attention is fastest.

    Raises:
        InputError: `start` cannot be read, its vocabulary is too small, it is a Condenser of another head than `options`
            ask for, or a setting is out of range.
    """
    start = checkpoint_path(start)
    fresh = _fresh_config(str(start), tokenizer)
    attention = options.attn_implementation
    if attention is None and bf16 and (use_cpu or not torch.accelerator.is_available()):
        attention = (
            "eager"  # sdpa's bf16 backward pass is slower on CPUs, its float32 one faster: docs/research/tried.md
        )
    kwargs: dict[str, Any] = {} if attention is None else {"attn_implementation": attention}
    head = {name: value for name in HEAD if (value := getattr(options, name)) is not None}
    if fresh is not None:
        model = CondenserForPreTraining._from_config(CondenserConfig(fresh, **head), **kwargs)
    else:
        warn_of_changed_weights(start)
        with loading("The model", start):
            refuse_classifier(start)
            kwargs |= condenser_place(start)
            is_condenser = AutoConfig.from_pretrained(start, **kwargs).model_type == CondenserConfig.model_type
            if is_condenser and not options.fresh_head:
                model = CondenserForPreTraining.from_pretrained(start, dtype=torch.float32, **kwargs)
                _require_own_head(start, model.config, head)
            else:
                model = CondenserForPreTraining.from_backbone(start, dtype=torch.float32, **head, **kwargs)
        _require_same_vocabulary(start, tokenizer)
    if len(tokenizer) > model.config.vocab_size:
        raise InputError(
            f"The spans' tokenizer has {len(tokenizer)} entries, the model '{start}' {model.config.vocab_size}: "
            "prepare the spans with the model's own tokenizer."
        )
    positions = usable_positions(model.get_backbone())
    if positions is not None and options.max_length > positions:
        raise InputError(f"max_length is {options.max_length}, but '{start}' takes at most {positions} tokens.")
    if options.dropout is not None:
        set_dropout(model, options.dropout)
    return model


def _require_own_head(start: str | Path, config: CondenserConfig, head: dict[str, Any]) -> None:
    for name, value in head.items():
        if value != (own := getattr(config, name)):
            raise InputError(
                f"{name} is {value}, but that of the Condenser '{start}' is {own}; leave it out, or put a new head on "
                "with fresh_head."
            )


def _fresh_config(start: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig | None:
    """The configuration of an encoder with random weights, if that is what `start` names."""
    if match := _NEW_BERT.fullmatch(start):
        layers, hidden = int(match[1]), int(match[2])
        if not layers or not hidden or hidden % 64:
            raise InputError(f"'{start}': there must be a layer, and the hidden size must be a multiple of 64.")
        config: PreTrainedConfig = BertConfig(
            num_hidden_layers=layers,
            hidden_size=hidden,
            num_attention_heads=hidden // 64,
            intermediate_size=4 * hidden,
        )
    elif start.endswith(".json") and Path(start).is_file():
        try:
            config = AutoConfig.from_pretrained(start)
        except (OSError, ValueError, TypeError) as error:  # TypeError: a list, in transformers 5.17
            raise InputError(
                f"The configuration '{start}' cannot be used: {' '.join(str(error).split())[:200]}"
            ) from None
    elif start.startswith("bert:"):
        raise InputError(f"'{start}' is no fresh encoder; write bert:LAYERSxHIDDEN, such as bert:4x256.")
    else:
        return None
    config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
    return config


def is_fresh_bert(start: str | Path) -> bool:
    """Whether `start` is `bert:LAYERSxHIDDEN`, an encoder trained from scratch."""
    return _NEW_BERT.fullmatch(str(start)) is not None


def _require_same_vocabulary(start: str | Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse spans whose ids mean other tokens to the model; a checkpoint without a tokenizer cannot be asked."""
    files = ("tokenizer.json", "vocab.txt", "vocab.json", "spm.model", "sentencepiece.bpe.model")
    if Path(start).is_dir() and not any((Path(start) / name).is_file() for name in files):
        return  # transformers would make up an empty one
    try:
        own = load_tokenizer(start)
    except InputError:
        return
    if own.get_vocab() != tokenizer.get_vocab():
        raise InputError(
            f"The spans were tokenised with another vocabulary than that of '{start}': prepare them with "
            f"--tokenizer {start}."
        )


def pretrain(
    start: str | Path,
    spans: str | Path,
    args: CondenserTrainingArguments,
    options: ModelOptions | None = None,
    *,
    resume: bool = False,
    callbacks: list[Any] | None = None,
) -> CondenserTrainer:
    """Train one stage (`args.stage`) and save model, tokenizer, trainer state and a record in `args.output_dir`.

    Args:
        start: see `load_model`; `bert:LAYERSxHIDDEN` begins as a latent semantic model of the spans
            (`start_from_documents`).
        spans: what `prepare` wrote; its held-out documents are evaluated on where `args.eval_strategy` says so.
        args: training arguments; `seed` is also that of the spans' drawing and the masks.
        options: of the model and the masks.
        resume: go on with a run although settings such as its length or learning rate changed. With the same settings
            a stopped run goes on from its last whole checkpoint anyway, and one that has taken all its steps is left as
            it is.
        callbacks: more of transformers' `TrainerCallback`s.

    Raises:
        InputError: an input cannot be used; see `load_model`, `SpanDataset`, `CondenserTrainer`.
    """
    with working_in(args.output_dir):
        return _pretrain(start, spans, args, options or ModelOptions(), resume, callbacks)


def _pretrain(
    start: str | Path,
    spans: str | Path,
    args: CondenserTrainingArguments,
    options: ModelOptions,
    resume: bool,
    callbacks: list[Any] | None,
) -> CondenserTrainer:
    require_reporters(args)
    output = Path(args.output_dir)
    manifest = read_manifest(spans)
    earlier = None if is_fresh_bert(start) else record_of(start)
    scale_like(earlier, args)
    identity = run_identity(start, args, options, manifest)
    begun, last = on_first(lambda: take_up(output, identity, resume, args.load_best_model_at_end))
    on_first(lambda: require_unchanged(spans, ".arrow", "prepare the documents again"))
    tokenizer = load_tokenizer(Path(spans) / TOKENIZER_FOLDER)
    pairs = args.stage == "cocondenser"
    train = SpanDataset(spans, pairs=pairs, seed=args.seed, max_length=options.max_length)
    held_out = None
    if args.eval_strategy != IntervalStrategy.NO:
        held_out = SpanDataset(spans, pairs=pairs, seed=args.seed, max_length=options.max_length, split="evaluation")
        most = max(1, len(held_out) // args.world_size)
        args.per_device_eval_batch_size = min(args.per_device_eval_batch_size, most)
    torch.manual_seed(args.seed)
    model = load_model(start, tokenizer, options, use_cpu=args.use_cpu, bf16=args.bf16)
    if last is None and is_fresh_bert(start):
        constant = [tokenizer.cls_token_id, tokenizer.sep_token_id]
        start_from_documents(model.get_backbone(), SpanStore(spans), constant, seed=args.seed)
    collator = CondenserCollator(tokenizer, max_length=options.max_length, mlm_probability=options.mlm_probability)
    trainer = CondenserTrainer(
        model,
        args,
        train_dataset=train,
        eval_dataset=held_out,
        data_collator=collator,
        processing_class=tokenizer,
        callbacks=callbacks,
    )
    trainer.record_details = {
        "start": absolute_if_there(start),
        "earlier_stage": earlier,
        "options": asdict(options),
    }
    if args.disable_tqdm:
        trainer.remove_callback(PrinterCallback)  # it would print every line of the log, which the record keeps
    else:
        fit_to_output(trainer)
    if trainer.is_world_process_zero():
        output.mkdir(parents=True, exist_ok=True)
        write_json(output / RUN, identity)
    finished = finished_in(trainer, output, last) if begun else None
    if finished is None:
        trainer.train(resume_from_checkpoint=last)
    else:
        _take_up(trainer, finished)
        logger.info("The run in '%s' is finished: %d steps are taken.", output, trainer.state.global_step)
    if finished == output:
        return trainer
    trainer.save_state()
    trainer.save_model()
    if trainer.is_world_process_zero():
        write_record(output, [path for path in output.iterdir() if path.is_file() and path.name != FILES])
        logger.info("The pre-training checkpoint is in '%s'.", output)
    return trainer


def _take_up(trainer: CondenserTrainer, folder: Path) -> None:
    """Give the trainer the weights and the state of a finished training: of its run's folder, or of its last checkpoint."""
    trainer.state = TrainerState.load_from_json(str(folder / TRAINER_STATE_NAME))
    best = trainer.state.best_model_checkpoint if trainer.args.load_best_model_at_end else None
    is_last = folder != Path(trainer.args.output_dir)
    trainer._load_from_checkpoint(best if best and is_last else str(folder))
