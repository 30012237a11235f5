"""Initial weights for an encoder trained from scratch: latent semantic analysis of its own documents.

Random weights as BERT's say next to nothing about a text: the CLS vector is nearly constant, and millions of tokens of
training go into changing that. A few seconds of linear algebra do it instead. Each token's embedding starts as its
vector in the truncated singular value decomposition of the documents' tf-idf matrix (Deerwester et al. 1990), attention
starts as a mean weighted by inverse document frequency, and attention's value and output maps start near the identity
(mimetic initialisation, Trockman and Kolter 2023, arXiv 2305.09828). The CLS vector then is about the classic latent
semantic vector of the text, and training begins with a retriever.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from transformers import BertModel

from hf_cocondenser.data.store import SpanStore

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

logger = logging.getLogger(__name__)

WINDOW = 256  # tokens of a row of the matrix; a longer document gives several
MOST_WINDOWS = 100_000  # chosen evenly from a larger corpus: co-occurrence needs no more
ITERATIONS = 4  # of the randomised decomposition
# Dimensions kept out of the meaning. The first two hold a token's weight and its negative, so that layer
# normalisation, which takes out the mean, leaves it alone; the next two make up the rest of CLS and SEP. All four are
# scaled down after it, since what is the same in every text tells texts apart in none.
WEIGHT, CONSTANT, RESERVED = [0, 1], [2, 3], 4
WEIGHT_SCALE, CONSTANT_SCALE = 0.5, 0.1
UNSEEN_BY_ATTENTION = -3.0  # log weight of CLS and SEP; that of a token that stands in every text is 0


def start_from_documents(encoder: BertModel, store: SpanStore, constant_ids: list[int], *, seed: int) -> None:
    """Change an untrained encoder in place so that its CLS vector is about the latent semantic vector of a text.

    Args:
        encoder: with random weights; its hidden size is the number of latent dimensions plus four.
        store: the documents, tokenised with the encoder's vocabulary.
        constant_ids: tokens that stand in every text (CLS and SEP).
        seed: of the randomised decomposition.
    """
    hidden, heads = encoder.config.hidden_size, encoder.config.num_attention_heads
    counts = count_tokens(windows(store), encoder.config.vocab_size)
    vectors, weights = latent_vectors(counts, hidden - RESERVED, seed)
    logger.info("Initial weights: latent vectors of %s tokens from %s texts.", *(f"{n:,}" for n in counts.shape[::-1]))
    rows = _embeddings(torch.from_numpy(vectors).float(), torch.from_numpy(weights).float(), constant_ids)
    with torch.no_grad():
        embeddings = encoder.embeddings
        known = rows.abs().sum(1) > 0
        # Rows of the size of BERT's: the layer norm after them makes that of all rows equal, the MLM head sees it.
        size = encoder.config.initializer_range
        embeddings.word_embeddings.weight[known] = size * rows[known]
        embeddings.position_embeddings.weight.zero_()
        embeddings.token_type_embeddings.weight.zero_()
        embeddings.LayerNorm.weight[WEIGHT] = WEIGHT_SCALE
        embeddings.LayerNorm.weight[CONSTANT] = CONSTANT_SCALE
        meaning = torch.eye(hidden)
        meaning[:RESERVED] = 0.0
        weight_of_token = torch.zeros(hidden)
        weight_of_token[WEIGHT] = torch.tensor([0.5, -0.5]) / WEIGHT_SCALE
        for layer in encoder.encoder.layer:
            attention = layer.attention.self
            for weight in (attention.value.weight, layer.attention.output.dense.weight):
                weight += meaning
            # In every head, one dimension of the keys is a token's weight; the query's part in it is constant.
            per_head = hidden // heads
            attention.key.weight[::per_head] = weight_of_token
            attention.query.weight[::per_head] = 0.0
            attention.query.bias[::per_head] = per_head**0.5


def count_tokens(texts: Iterable[npt.NDArray[np.integer]], vocabulary: int) -> csr_matrix:
    """Return how often each token stands in each text, (texts, vocabulary); texts are arrays of token ids."""
    from scipy.sparse import csr_matrix

    rows = list(texts)
    lengths = [len(row) for row in rows]
    columns = np.concatenate(rows).astype(np.int64)
    shape = (len(rows), vocabulary)
    counts = csr_matrix(
        (np.ones(len(columns), np.float32), (np.repeat(np.arange(len(rows)), lengths), columns)), shape
    )
    counts.sum_duplicates()
    return counts


def windows(store: SpanStore) -> Iterator[npt.NDArray[np.integer]]:
    """Give the tokens of the documents, cut into windows; of a large corpus an even selection of these."""
    per_document = -(-store.token_counts // WINDOW)
    every = max(1, -(-int(per_document.sum()) // MOST_WINDOWS))
    number = 0
    for document, (tokens, number_of_windows) in enumerate(zip(store.token_counts, per_document, strict=True)):
        for window in range(number_of_windows):
            if number % every == 0:
                yield store.tokens(document, window * WINDOW, min((window + 1) * WINDOW, int(tokens)))
            number += 1


def latent_vectors(
    counts: csr_matrix, dimensions: int, seed: int
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    """Return unit latent vectors of the tokens, (vocabulary, dimensions), and their log idf, (vocabulary,).

    Tokens that occur nowhere get the vector zero. Fewer texts than dimensions leave the last dimensions empty.
    """
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.utils.extmath import randomized_svd

    transformer = TfidfTransformer(sublinear_tf=True)
    matrix = transformer.fit_transform(counts)
    most = max(1, min(dimensions, min(matrix.shape) - 1))
    _, strengths, axes = randomized_svd(matrix, most, n_iter=ITERATIONS, random_state=seed)
    # Each axis weighs the square root of its singular value: between raw co-occurrence, which a few topics rule, and
    # equal axes, of which the last are noise.
    vectors = np.zeros((matrix.shape[1], dimensions))
    vectors[:, :most] = axes.T * np.sqrt(strengths)
    vectors -= vectors.mean(1, keepdims=True)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    occurs = (
        counts.getnnz(axis=0)[:, None] > 0
    )  # not by its norm alone: what the decomposition leaves is not quite zero
    vectors = np.where(occurs & (norms > 1e-6 * norms.max()), vectors / np.maximum(norms, 1e-30), 0.0)
    return vectors, np.log(transformer.idf_)


def _embeddings(vectors: torch.Tensor, weights: torch.Tensor, constant_ids: list[int]) -> torch.Tensor:
    """Put weight, constant and meaning together to rows of mean 0 and mean square 1, as a layer norm leaves them."""
    vocabulary, dimensions = vectors.shape
    hidden = dimensions + RESERVED
    occurs = vectors.abs().sum(1) > 0
    rows = torch.zeros(vocabulary, hidden)
    opposite = torch.tensor([1.0, -1.0])
    rows[:, WEIGHT] = weights[:, None] * occurs[:, None] * opposite
    left = (hidden - rows.square().sum(1)).clamp(min=0.0)
    rows[:, RESERVED:] = vectors * left.sqrt()[:, None]
    constant = torch.zeros(hidden)
    constant[WEIGHT] = UNSEEN_BY_ATTENTION * opposite
    constant[CONSTANT] = (hidden / 2 - UNSEEN_BY_ATTENTION**2) ** 0.5 * opposite
    rows[constant_ids] = constant
    return rows
