"""Train a pre-trained encoder further with sentence-transformers' own trainer, loss and evaluator.

    python examples/train_further.py cocondenser-tiny --output-dir runs/retriever

The pairs are NumPy's docstrings: the first line is the query, the rest the document that it must find.
"""

import argparse
import inspect

import numpy
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
    util,
)
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from hf_cocondenser import save_retriever

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", nargs="?", default="cocondenser-tiny", help="a pre-training checkpoint")
parser.add_argument("--output-dir", default="runs/retriever")
parser.add_argument("--epochs", type=float, default=3)
options = parser.parse_args()

documents = {}
for name, member in inspect.getmembers(numpy, callable):
    query, _, document = (inspect.getdoc(member) or "").strip().partition("\n")
    if document.strip():
        documents[name] = (query, document[:1000])
names = list(documents)
pairs = Dataset.from_dict(
    {"query": [documents[n][0] for n in names[::2]], "document": [documents[n][1] for n in names[::2]]}
)
evaluator = InformationRetrievalEvaluator(
    queries={n: documents[n][0] for n in names[1::2]},
    corpus={n: documents[n][1] for n in names},
    relevant_docs={n: {n} for n in names[1::2]},
)

save_retriever(options.model, f"{options.output_dir}-start", overwrite=True)  # the plain encoder: CLS, dot product
model = SentenceTransformer(f"{options.output_dir}-start")
scale = model.get_embedding_dimension() ** -0.5  # dot products of vectors behind a layer norm are large
trainer = SentenceTransformerTrainer(
    model=model,
    args=SentenceTransformerTrainingArguments(options.output_dir, num_train_epochs=options.epochs, save_strategy="no"),
    train_dataset=pairs,
    loss=MultipleNegativesRankingLoss(model, scale=scale, similarity_fct=util.dot_score),
)
before = evaluator(model)[evaluator.primary_metric]
trainer.train()
print(f"{evaluator.primary_metric}: {before:.3f} before, {evaluator(model)[evaluator.primary_metric]:.3f} after")
model.save_pretrained(options.output_dir)
