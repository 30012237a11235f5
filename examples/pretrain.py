"""Pre-train on documents of your own, with a callback and a loss term of your own.

python examples/pretrain.py documents.jsonl --model bert-base-uncased --output-dir runs/cocondenser
"""

import argparse

from transformers import AutoTokenizer, TrainerCallback

from hf_cocondenser import (
    CondenserForPreTraining,
    CondenserTrainer,
    CondenserTrainingArguments,
    SpanDataset,
    load_documents,
    prepare_spans,
    save_retriever,
)


class StopWhenSolved(TrainerCallback):
    """Ends the training when nearly all spans find the other span of their document: raise the batch size then."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        control.should_training_stop |= (logs or {}).get("contrastive_accuracy", 0) > 0.99


class TrainerForShortVectors(CondenserTrainer):
    """Also keeps vectors short, since long ones win every dot product."""

    def chunk_loss(self, batch, output):
        return 0.001 * output.cls.pow(2).sum(1)  # one number for each span; its mean is added to the loss


parser = argparse.ArgumentParser()
parser.add_argument("documents", help="JSONL, Parquet, CSV, text or a folder")
parser.add_argument("--model", default="bert-base-uncased")
parser.add_argument("--output-dir", default="runs/cocondenser")
parser.add_argument("--batch-size", type=int, default=128)
parser.add_argument("--max-steps", type=int, default=1000)
options = parser.parse_args()

tokenizer = AutoTokenizer.from_pretrained(options.model)
prepare_spans(load_documents(options.documents), tokenizer, f"{options.output_dir}-spans", overwrite=True)
trainer = TrainerForShortVectors(
    model=CondenserForPreTraining.from_backbone(options.model),
    args=CondenserTrainingArguments(
        options.output_dir,
        per_device_train_batch_size=options.batch_size,
        max_steps=options.max_steps,
        logging_steps=10,
    ),
    train_dataset=SpanDataset(f"{options.output_dir}-spans", pairs=True),
    processing_class=tokenizer,
    callbacks=[StopWhenSolved()],
)
trainer.train()
trainer.save_model()
trainer.create_model_card()
save_retriever(options.output_dir, f"{options.output_dir}-encoder", overwrite=True)
