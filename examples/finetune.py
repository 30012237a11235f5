"""Fine-tune a retriever with sentence-transformers' own trainer and this package's loss.

    python examples/finetune.py sentence-transformers/all-MiniLM-L6-v2 data/scifact --output-dir runs/scifact

`hf-cocondenser finetune` does more (rounds, mining, resuming); this script shows the parts, for a training loop of your own.
"""

from __future__ import annotations

import argparse

from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)

from hf_cocondenser.finetuning.config import MiningConfig
from hf_cocondenser.finetuning.dev import DevEvaluator, hold_out
from hf_cocondenser.finetuning.loss import MaskedContrastiveLoss
from hf_cocondenser.finetuning.negatives.mining import bm25_pool
from hf_cocondenser.finetuning.temperature import auto_temperature
from hf_cocondenser.finetuning.training_set import TrainingSet
from hf_cocondenser.retrieval.collections.loading import load_retrieval_data


def main() -> None:
    """Read the data, add BM25 negatives, train, measure on held-out training queries."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a sentence-transformers retriever")
    parser.add_argument("data", help="a BEIR folder with training judgements")
    parser.add_argument("--output-dir", required=True)
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--negatives", type=int, default=1, help="hard negatives per query")
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    options = parser.parse_args()

    train, dev = hold_out(load_retrieval_data(options.data, "train"), share=0.1, most=200, seed=42)
    assert dev is not None
    model = SentenceTransformer(options.model)

    # 1. BM25's first documents that are not relevant; passages with equal texts share a key.
    pool, _ = bm25_pool(train, MiningConfig(), seed=42)
    training_set = TrainingSet(train.queries, train.corpus, train.relevant(), [pool], options.negatives, seed=42)

    # 2. The loss leaves everything relevant out of the denominator: the keys travel in the column `label`.
    loss = MaskedContrastiveLoss(model, temperature=auto_temperature(model, training_set), mini_batch_size=32)

    # 3. From here on it is sentence-transformers.
    arguments = SentenceTransformerTrainingArguments(
        output_dir=options.output_dir,
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        warmup_steps=0.1,
        eval_strategy="epoch",
        save_strategy="no",
        logging_steps=10,
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=training_set.as_dataset(),
        loss=loss,
        evaluator=DevEvaluator(dev),
    )
    trainer.train()
    model.save_pretrained(options.output_dir)


if __name__ == "__main__":
    main()
