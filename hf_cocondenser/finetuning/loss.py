"""The contrastive loss of fine-tuning: in-batch and hard negatives, with everything relevant masked out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import sentence_transformers
import torch
import torch.nn.functional as F
from packaging.version import Version
from sentence_transformers.base.losses.gradcache import CachedLossMixin, has_static_embedding_input
from sentence_transformers.util.distributed import all_gather, all_gather_with_grad, get_rank, get_world_size
from torch import Tensor, nn

from hf_cocondenser.errors import InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_EXACT_CACHE = Version("6.2")  # its issue 4027
Directions = Literal["forward", "sum", "mean"]


class MaskedContrastiveLoss(CachedLossMixin, nn.Module):
    """Softmax over a query's positive, its hard negatives and all other passages of the global batch.

    A passage that is relevant to the query, or whose text equals a relevant one, is left out of the denominator, so
    a data set with many positives per query does not punish them. With nothing to mask, the loss and its gradient are
    those of sentence-transformers' `CachedMultipleNegativesRankingLoss`, whose gradient-cache engine this is built on.

    Inputs: (anchor, positive) or (anchor, positive, negative_1, ..., negative_n) columns, or two columns of which the
    second holds B * (1 + n) passages, the B positives first. The loss does not depend on the order of the passages,
    so every column is sorted by length before it is cut into mini-batches.

    Labels (None: nothing is masked) are int64 keys, shape (B, 1 + n + r): the keys of a row's positive and negatives
    in column order, then those of all passages relevant to its query, padded with -1. Equal texts share one key.

    Args:
        model: the retriever to train.
        temperature: scores are divided by it; `auto_temperature` measures one that suits the model and the data.
        similarity: `dot` or `cosine`; None takes the model's own.
        directions: `forward` (query to passage), or with the passage-to-query direction over the positives alone
            added (`sum`, as in GTR) or averaged (`mean`).
        gather_across_devices: use the passages of all processes as negatives.
        gradient_cache: keep the activations of one mini-batch only, for a second forward pass; the gradient is equal.
        mini_batch_size: texts per mini-batch.
        mini_batch_num_tokens: real tokens per mini-batch, instead of `mini_batch_size`.

    Attributes:
        metrics: of the last batch, as detached tensors: `accuracy` (the positive scores highest), `masked` (passages
            left out per query) and `negatives` (passages in the denominator beside the positive).

    Example:
        data = RetrievalData.from_dicts(corpus, queries, qrels)
        loss = MaskedContrastiveLoss(model, auto_temperature(model, data))
        trainer = SentenceTransformerTrainer(model, train_dataset=mine_hard_negatives(model, data, labels=True), loss=loss)
    """

    def __init__(
        self,
        model: SentenceTransformer,
        temperature: float,
        similarity: Literal["dot", "cosine"] | None = None,
        directions: Directions = "forward",
        gather_across_devices: bool = True,
        gradient_cache: bool = True,
        mini_batch_size: int = 32,
        mini_batch_num_tokens: int | None = None,
    ) -> None:
        super().__init__()
        similarity = similarity or model.similarity_fn_name  # type: ignore[assignment]
        if similarity not in ("dot", "cosine"):
            raise InputError(f"The loss compares by 'dot' or 'cosine', not by '{similarity}'.")
        if temperature <= 0:
            raise InputError(f"The temperature must be above 0; it is {temperature}.")
        if directions not in ("forward", "sum", "mean"):
            raise InputError(f"The directions '{directions}' are not known; there are forward, sum and mean.")
        if has_static_embedding_input(model):
            raise InputError("A StaticEmbedding model cannot be cut into mini-batches, so this loss cannot train it.")
        if gradient_cache and get_world_size() > 1 and Version(sentence_transformers.__version__) < _EXACT_CACHE:
            raise InputError(
                f"sentence-transformers {sentence_transformers.__version__} loses gradients of the gradient cache under "
                f"several processes; install {_EXACT_CACHE} or newer, or leave --gradient-cache out."
            )
        self.model = model
        self.temperature = temperature
        self.similarity = similarity
        self.directions = directions
        self.gather_across_devices = gather_across_devices
        self.uses_gradient_cache = gradient_cache
        self.mini_batch_size = mini_batch_size
        self.mini_batch_num_tokens = mini_batch_num_tokens
        self.metrics: dict[str, Tensor] = {}

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """The loss of a batch: the mean over this process's queries."""
        columns, orders = [], []
        for features in sentence_features:
            order = length_order(features)
            columns.append(_reorder(features, order))
            orders.append(order)
        batch = (orders, labels)
        if self.uses_gradient_cache:
            return self.forward_cached(columns, batch)  # type: ignore[arg-type, operator]
        representations = [
            [part for part, _ in self.embed_minibatch_iter(column, with_grad=True, copy_random_state=False)]  # type: ignore[operator]
            for column in columns
        ]
        return self.calculate_loss(representations, batch)

    def calculate_loss(
        self,
        reps: list[list[Tensor]],
        labels: Any = None,
        *,
        with_backward: bool = False,
    ) -> Tensor:
        """The loss from the mini-batches' vectors; `labels` is (order of each column, keys)."""
        orders, keys = labels
        queries, *passage_columns = [
            _restore(torch.cat(parts), order) for parts, order in zip(reps, orders, strict=True)
        ]
        loss = self._contrast(queries, torch.cat(passage_columns), keys)
        if with_backward:
            loss.backward()
            loss = loss.detach()
        return loss

    def _contrast(self, queries: Tensor, passages: Tensor, labels: Tensor | None) -> Tensor:
        size = len(queries)
        queries, passages = (self._prepare(vectors) for vectors in (queries, passages))
        gather = self.gather_across_devices and get_world_size() > 1
        all_passages = all_gather_with_grad(passages) if gather else passages
        rank = get_rank() if gather else 0
        # Every process contributes its positives first, then its negatives.
        target = rank * len(passages) + torch.arange(size, device=queries.device)
        scores = queries @ all_passages.T / self.temperature  # (B, world * B * (1 + n))
        masked = torch.zeros_like(scores, dtype=torch.bool)
        if labels is not None:
            keys, relevant = split_labels(labels, size, len(passages))
            masked = contains(relevant, all_gather(keys) if gather else keys)
            masked.scatter_(1, target[:, None], False)
        scores = scores.masked_fill(masked, -torch.inf)
        loss = F.cross_entropy(scores, target)
        self._measure(scores.detach(), target, masked)
        if self.directions == "forward":
            return loss
        world = len(all_passages) // len(passages)
        is_positive = torch.arange(len(all_passages), device=queries.device) % len(passages) < size
        positive_masked = masked[:, is_positive]  # (B, world * B): is positive j relevant to query i?
        all_queries = all_gather_with_grad(queries) if gather else queries
        query_masked = (all_gather(positive_masked) if gather else positive_masked)[:, rank * size : (rank + 1) * size]
        backward = passages[:size] @ all_queries.T / self.temperature  # (B, world * B)
        backward = backward.masked_fill(query_masked.T, -torch.inf)
        own = rank * size + torch.arange(size, device=queries.device)
        assert backward.shape == (size, world * size)
        total = loss + F.cross_entropy(backward, own)
        return total / 2 if self.directions == "mean" else total

    def _prepare(self, vectors: Tensor) -> Tensor:
        if vectors.dtype in (torch.float16, torch.bfloat16):
            vectors = vectors.float()
        return F.normalize(vectors, dim=-1) if self.similarity == "cosine" else vectors

    @torch.no_grad()
    def _measure(self, scores: Tensor, target: Tensor, masked: Tensor) -> None:
        positive = scores.gather(1, target[:, None])
        # A tie is no win: a collapsed model, which gives every passage one vector, has accuracy 0.
        beaten = (scores >= positive).sum(dim=1) > 1
        self.metrics = {
            "accuracy": 1.0 - beaten.float().mean(),
            "masked": masked.sum(dim=1).float().mean(),
            "negatives": (~masked).sum(dim=1).float().mean() - 1,
        }

    def get_config_dict(self) -> dict[str, Any]:
        """What the model card shows."""
        return {
            "temperature": self.temperature,
            "similarity": self.similarity,
            "directions": self.directions,
            "gather_across_devices": self.gather_across_devices,
            "gradient_cache": self.uses_gradient_cache,
            "mini_batch_size": self.mini_batch_size,
            "mini_batch_num_tokens": self.mini_batch_num_tokens,
        }

    @property
    def citation(self) -> str:
        """The gradient cache's paper."""
        return """
@inproceedings{gao2021scaling,
    title = "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
    author = "Luyu Gao and Yunyi Zhang and Jiawei Han and Jamie Callan",
    booktitle = "RepL4NLP",
    year = "2021",
    url = "https://arxiv.org/abs/2101.06983",
}
"""


def length_order(features: dict[str, Any]) -> Tensor | None:
    """The order of a column's texts by length, or None when it is not a padded batch."""
    mask = features.get("attention_mask")
    if not isinstance(mask, Tensor) or mask.ndim != 2 or "cu_seq_lens_q" in features:
        return None
    return mask.sum(dim=1).argsort(stable=True)


def _reorder(features: dict[str, Any], order: Tensor | None) -> dict[str, Any]:
    if order is None:
        return features
    return {
        name: value[order] if isinstance(value, Tensor) and value.ndim and len(value) == len(order) else value
        for name, value in features.items()
    }


def _restore(vectors: Tensor, order: Tensor | None) -> Tensor:
    if order is None:
        return vectors
    return vectors[order.argsort()]


def split_labels(labels: Tensor, queries: int, passages: int) -> tuple[Tensor, Tensor]:
    """Cut labels (see `MaskedContrastiveLoss`) into the keys of the passages and the keys relevant to each query.

    Returns:
        Keys in the order of the passages (all positives, then the first negatives, ...), shape (passages,), and
        relevant keys, shape (queries, 1 + r), the positive's own among them.

    Raises:
        InputError: the labels do not fit the batch.
    """
    own = passages // queries
    if labels.ndim != 2 or len(labels) != queries or labels.shape[1] < own or passages % queries:
        raise InputError(
            f"The labels have the shape {tuple(labels.shape)}; for {queries} queries with {passages} passages they need"
            f" {queries} rows of at least {own} keys."
        )
    relevant = torch.cat([labels[:, :1], labels[:, own:]], dim=1)
    return labels[:, :own].T.reshape(-1), relevant


def contains(rows: Tensor, keys: Tensor) -> Tensor:
    """Whether each row holds each key: (B, r) and (P,) to bool (B, P); rows are padded with -1, keys are >= 0.

    By binary search among the distinct keys, so that thousands of passages times hundreds of relevant ones stay cheap.
    """
    distinct, inverse = torch.unique(keys, return_inverse=True)
    place = torch.searchsorted(distinct, rows.contiguous()).clamp(max=len(distinct) - 1)
    # What is not found is written into one column too many, which is cut off.
    place = torch.where(distinct[place] == rows, place, len(distinct))
    found = torch.zeros(len(rows), len(distinct) + 1, dtype=torch.bool, device=rows.device)
    found.scatter_(1, place, True)
    return found[:, inverse]
