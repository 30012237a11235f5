"""Pre-train a Condenser, then a coCondenser, on your own documents, with transformers' Trainer idiom.

    python examples/pretrain.py documents.jsonl --model bert-base-uncased --output-dir runs/pretraining

Start several processes with torchrun; negatives then come from all of them. `hf-cocondenser prepare` and
`hf-cocondenser pretrain` do the same from the command line.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from transformers import AutoTokenizer

from hf_cocondenser import (
    CondenserCollator,
    CondenserForPreTraining,
    CondenserTrainer,
    CondenserTrainingArguments,
    SpanDataset,
    load_documents,
    prepare_spans,
    save_retriever,
)


def main() -> None:
    """Cut documents into spans, train both stages, export the encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", help="JSONL, Parquet, CSV, text, a BEIR folder or a Hub data set")
    parser.add_argument("--model", default="bert-base-uncased", help="any encoder checkpoint of a supported family")
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=128, help="documents per device and step")
    parser.add_argument("--max-steps", type=int, default=1000, help="steps of each stage")
    parser.add_argument("--use-cpu", action="store_true")
    options = parser.parse_args()

    # 1. Spans: cut and tokenised once, drawn anew in every epoch.
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    spans = options.output_dir / "spans"
    prepare_spans(load_documents(options.documents), tokenizer, spans)
    collator = CondenserCollator(tokenizer, max_length=options.max_length)

    # 2. Condenser: masked tokens are predicted through the late CLS. 3. coCondenser: spans of a document attract too.
    model = CondenserForPreTraining.from_backbone(options.model)
    for stage in ("condenser", "cocondenser"):
        trainer = CondenserTrainer(
            model,
            CondenserTrainingArguments(
                output_dir=str(options.output_dir / stage),
                stage=stage,
                max_steps=options.max_steps,
                per_device_train_batch_size=options.batch_size,
                use_cpu=options.use_cpu,
                logging_steps=10,
            ),
            train_dataset=SpanDataset(spans, pairs=stage == "cocondenser", max_length=options.max_length),
            data_collator=collator,
            processing_class=tokenizer,
        )
        trainer.train()
        trainer.save_model()

    # 4. The head is dropped; what remains is a plain encoder that fine-tuning starts from.
    if trainer.is_world_process_zero():
        save_retriever(model, options.output_dir / "encoder", tokenizer=tokenizer, max_length=options.max_length)
    trainer.leave_process_group()


if __name__ == "__main__":
    main()
