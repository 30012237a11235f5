"""Use a pre-training checkpoint through transformers' Auto classes: the vectors of texts, and a masked word.

python examples/encoder.py cocondenser-tiny
"""

import sys

import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, pipeline

from hf_cocondenser import checkpoint_path  # the import makes transformers know the model's type

place = checkpoint_path(sys.argv[1] if len(sys.argv) > 1 else "cocondenser-tiny")
tokenizer = AutoTokenizer.from_pretrained(place)

# The encoder: the vector of a text is its CLS token's, and vectors are compared by dot product.
encoder = AutoModel.from_pretrained(place).eval()
texts = ["how do whales sing?", "Whales make sounds with their larynx.", "Bread is baked in an oven."]
with torch.no_grad():
    vectors = encoder(**tokenizer(texts, padding=True, return_tensors="pt")).last_hidden_state[:, 0]
for text, score in zip(texts[1:], vectors[1:] @ vectors[0], strict=True):
    print(f"{score:8.2f}  {text}")

# The masked language model.
masked_lm = AutoModelForMaskedLM.from_pretrained(place)
fill = pipeline("fill-mask", model=masked_lm, tokenizer=tokenizer, device="cpu")
for guess in fill(f"Raise an error {tokenizer.mask_token} the file does not exist."):
    print(f"{guess['score']:8.2%}  {guess['token_str']}")
