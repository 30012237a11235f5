"""Run by torchrun (or alone): a few trainer steps on toy spans; rank 0 saves the weights and the log."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import torch
from transformers import BertConfig

from hf_cocondenser import CondenserConfig, CondenserForPreTraining
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments
from hf_cocondenser.pretraining.trainer import CondenserTrainer
from tests.toy_spans import ToySpans, collate


def main(output: str, batch: str, options: str) -> None:
    torch.manual_seed(0)
    backbone = BertConfig(
        vocab_size=97,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=48,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = CondenserForPreTraining(CondenserConfig(backbone)).double()
    settings = json.loads(options)
    kind = getattr(importlib.import_module("tests.pretraining.test_own_loss"), settings.pop("trainer", ""), None)
    args = CondenserTrainingArguments(
        output_dir=output,
        per_device_train_batch_size=int(batch),
        per_device_eval_batch_size=int(batch),
        max_steps=3,
        learning_rate=0.05,
        optim="sgd",
        use_cpu=True,
        lr_scheduler_type="constant",
        warmup_steps=0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        max_grad_norm=0.0,
        weight_decay=0.0,
        temperature=5.0,
        disable_tqdm=True,
        chunk_tokens=40,
        **settings,
    )
    trainer = (kind or CondenserTrainer)(
        model, args, train_dataset=ToySpans(24), eval_dataset=ToySpans(8), data_collator=collate
    )
    trainer.train()
    metrics = trainer.evaluate()
    if trainer.is_world_process_zero():
        torch.save(trainer.model.state_dict(), Path(output) / "weights.pt")
        (Path(output) / "log.json").write_text(json.dumps([trainer.state.log_history, metrics]))
    trainer.leave_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
