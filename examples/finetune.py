"""Fine-tune a retriever and mine hard negatives from memory; then train on them with sentence-transformers' own trainer.

    python examples/finetune.py cocondenser-tiny --output-dir runs/retriever

The documents are docstrings of Python's own library; the first line of each is the query that must find the rest.
"""

import argparse
import inspect
import pathlib
import statistics
import unittest

from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)

from hf_cocondenser import (
    MaskedContrastiveLoss,
    RetrievalData,
    auto_temperature,
    evaluate_retriever,
    finetune,
    mine_hard_negatives,
)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", nargs="?", default="cocondenser-tiny")
parser.add_argument("--output-dir", default="runs/retriever")
parser.add_argument("--max-steps", type=int, default=50)
options = parser.parse_args()

corpus, queries, qrels = {}, {}, {}
for owner in (statistics, pathlib.Path, unittest.TestCase):
    for name, member in inspect.getmembers(owner, callable):
        first, _, rest = (inspect.getdoc(member) or "").partition("\n")
        if rest.strip() and not name.startswith("_"):
            corpus[name], queries[name], qrels[name] = rest, first, {name: 1}
data = RetrievalData.from_dicts(corpus, queries, qrels, name="docstrings", split="train")

# 1. The whole road in one call: BM25's negatives, a retriever, its own negatives, a retriever again.
finetune(options.model, data, options.output_dir, max_steps=options.max_steps, per_device_train_batch_size=16)

# 2. Its parts: mine with that retriever, and train it on with any loss. The labels keep relevant passages of other
# queries out of this one's denominator; `MultipleNegativesRankingLoss` takes the same columns.
model = SentenceTransformer(options.output_dir)
rows = mine_hard_negatives(model, data, negatives=2, depth=20, labels=True)
args = SentenceTransformerTrainingArguments(
    f"{options.output_dir}-further", max_steps=options.max_steps, per_device_train_batch_size=16, save_strategy="no"
)
loss = MaskedContrastiveLoss(model, auto_temperature(model, data))
SentenceTransformerTrainer(model, args, train_dataset=rows, loss=loss).train()
model.save_pretrained(f"{options.output_dir}-further")

print(evaluate_retriever(model, data, measures=["nDCG@10"]))  # on the training queries: what was learned
