"""Texts to vectors, fast: length-sorted batches of a token budget, bf16 where the hardware gains from it.

The retriever's own prompts, lengths and modules do the work; only what is batched with what, and the precision of the
transformer's matrix products, is decided here. Everything behind the transformer (pooling, projections) stays float32.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from tqdm.auto import tqdm

from hf_cocondenser.errors import InputError
from hf_cocondenser.retrieval.retriever import transformers_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Kind = Literal["query", "document"]
Features = dict[str, Any]

Precision = Literal["auto", "float32", "bfloat16"]
PRECISIONS = get_args(Precision)
_PROMPT_NAMES = {"query": ("query",), "document": ("document", "passage", "corpus")}  # sentence-transformers' order
_TEXTS_AT_ONCE = 1024  # tokenised in one call; batches are cut from these
_CPU_TOKENS = 1024  # activations of a batch stay in the cache: measured best from 512 to 2048 on Zen 4
_GPU_TOKENS = 16384


def prompt_of(model: SentenceTransformer, kind: Kind) -> str | None:
    """The prompt that `encode_query` / `encode_document` would put before a text."""
    prompts: Mapping[str, str] = model.prompts
    names = (*_PROMPT_NAMES[kind], model.default_prompt_name)
    return next((prompts[name] for name in names if name in prompts), None)


def resolve_precision(precision: str, device: torch.device) -> str:
    """`float32` or `bfloat16`: for `auto`, bf16 where the processor multiplies it natively.

    Raises:
        InputError: `precision` is not known.
    """
    if precision not in PRECISIONS:
        raise InputError(f"The precision '{precision}' is not known; there are {', '.join(PRECISIONS)}.")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
        native = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return "bfloat16" if native else "float32"


class Encoder:
    """A retriever made ready for encoding many texts.

    Attributes:
        precision: `float32` or `bfloat16`, what the transformer computes in.
        dimension: of the vectors.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        *,
        precision: str = "auto",
        batch_tokens: int | None = None,
        threads: int | None = None,
    ) -> None:
        """Make the retriever ready.

        Args:
            model: the retriever; it is not changed (another precision than its own works on a copy).
            precision: `auto`, `float32` or `bfloat16`.
            batch_tokens: padded tokens of a batch; by default what suits the device.
            threads: batches computed side by side on a CPU (PyTorch's number of threads by default).

        Raises:
            InputError: the precision is not known.
        """
        self.precision = resolve_precision(precision, model.device)
        self.model = _in_precision(model, self.precision)
        on_cpu = model.device.type == "cpu"
        self.batch_tokens = batch_tokens or (_CPU_TOKENS if on_cpu else _GPU_TOKENS)
        self.threads = (threads or torch.get_num_threads()) if on_cpu else 1
        dimension = model.get_embedding_dimension()
        if dimension is None:
            dimension = len(model.encode_document("dimension"))
        self.dimension = min(dimension, model.truncate_dim or dimension)

    def encode(
        self,
        texts: Sequence[str],
        *,
        kind: Kind = "document",
        show_progress: bool = False,
        progress: Callable[[int], Any] | None = None,
    ) -> np.ndarray:
        """Encode texts as queries or documents.

        Args:
            texts: in any order and of any length.
            kind: which prompt, and which half of an untied retriever.
            show_progress: show a bar.
            progress: called with the number of texts of every finished batch, for a bar of the caller's.

        Returns:
            float32, shape (texts, dimension), in the order given.

        Raises:
            InputError: a vector is not of finite numbers.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        prompt = prompt_of(self.model, kind)
        # Longest first: a batch too large for the memory fails at once. Chunks are of like length, so little is padded.
        order = np.argsort([-len(text) for text in texts], kind="stable")
        chunks = [order[start : start + _TEXTS_AT_ONCE] for start in range(0, len(order), _TEXTS_AT_ONCE)]
        with (
            _evaluation_mode(self.model),
            _single_threaded_workers(self.threads) as submit,
            tqdm(
                total=len(texts), desc=f"Encoding ({kind})", unit="text", disable=None if show_progress else True
            ) as bar,
        ):

            def collect(results: list[tuple[np.ndarray, Future[np.ndarray]]]) -> None:
                for rows, future in results:
                    vectors[rows] = future.result()
                    bar.update(len(rows))
                    if progress is not None:
                        progress(len(rows))

            running: list[tuple[np.ndarray, Future[np.ndarray]]] = []
            for rows in chunks:  # one chunk is tokenised here while the workers compute the one before
                features = self.model.preprocess([texts[row] for row in rows], prompt=prompt, task=kind)
                started = [
                    (rows[part], submit(self._forward, batch, kind))
                    for part, batch in token_batches(features, self.batch_tokens)
                ]
                collect(running)
                running = started
            collect(running)
        if not np.isfinite(vectors).all():
            raise InputError(
                "The retriever gives vectors that are not finite numbers; its weights are damaged, or its training diverged."
            )
        return vectors

    def _forward(self, batch: Features, kind: Kind) -> np.ndarray:
        device = self.model.device
        with torch.inference_mode():  # holds for the calling thread only
            batch = {
                key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in batch.items()
            }
            embeddings = self.model(batch, task=kind)["sentence_embedding"][:, : self.dimension]
            return embeddings.float().cpu().numpy()


def encode_texts(
    model: SentenceTransformer,
    texts: Sequence[str],
    *,
    kind: Kind = "document",
    precision: str = "auto",
    batch_tokens: int | None = None,
    show_progress: bool = False,
) -> np.ndarray:
    """Encode texts once; see `Encoder`, which is better kept where there are several calls.

    Returns:
        float32, shape (texts, dimension), in the order given.
    """
    encoder = Encoder(model, precision=precision, batch_tokens=batch_tokens)
    return encoder.encode(texts, kind=kind, show_progress=show_progress)


@contextmanager
def _evaluation_mode(model: SentenceTransformer) -> Iterator[None]:
    """Without dropout, and padded on the right: positions and first tokens must not depend on a text's neighbours."""
    modes = [(module, module.training) for module in model.modules()]
    tokenizers = [transformer.tokenizer for transformer in transformers_of(model)]
    sides = [getattr(tokenizer, "padding_side", None) for tokenizer in tokenizers]
    model.eval()
    for tokenizer, side in zip(tokenizers, sides, strict=True):
        if side == "left":
            tokenizer.padding_side = "right"
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for tokenizer, side in zip(tokenizers, sides, strict=True):
            if side == "left":
                tokenizer.padding_side = side


@contextmanager
def _single_threaded_workers(count: int) -> Iterator[Callable[..., Future[Any]]]:
    """Threads that each compute whole batches alone.

    Several batches side by side need no barriers between operations, keep each core's cache to itself and stay fast when
    other processes use the machine; and a vector does not depend on the number of threads.
    """
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as executor:
        try:
            yield executor.submit
        finally:
            executor.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)


def token_batches(features: Features, batch_tokens: int) -> Iterator[tuple[np.ndarray, Features]]:
    """Cut tokenised texts into batches of like length whose padded size is within the budget.

    Features without a padded token matrix (static embeddings, flash attention's flattened inputs) stay one batch.
    """
    mask = features.get("attention_mask")
    if not isinstance(mask, torch.Tensor) or mask.dim() != 2:
        yield _all_rows(features), features
        return
    lengths = mask.sum(dim=1).cpu()
    order = lengths.argsort(descending=True, stable=True)
    # Where a row starts with padding, its tokens stand at the right end.
    left_padded = bool((mask[:, 0] == 0).any())
    start = 0
    while start < len(order):
        longest = max(int(lengths[order[start]]), 1)
        rows = order[start : start + max(1, batch_tokens // longest)]
        columns = slice(mask.shape[1] - longest, None) if left_padded else slice(longest)
        yield rows.numpy(), {key: _take(value, rows, columns, mask.shape) for key, value in features.items()}
        start += len(rows)


def _take(value: Any, rows: torch.Tensor, columns: slice, shape: torch.Size) -> Any:
    if not isinstance(value, torch.Tensor) or value.dim() == 0 or len(value) != shape[0]:
        return value
    value = value[rows]
    return value[:, columns] if value.dim() == 2 and value.shape[1] == shape[1] else value


def _all_rows(features: Features) -> np.ndarray:
    """Row numbers of features that cannot be cut; their number is the count of sequence starts."""
    for key in ("cu_seq_lens_q", "offsets"):
        if key in features:
            return np.arange(len(features[key]) - (key == "cu_seq_lens_q"))
    raise InputError(
        "The retriever's inputs are not token ids with an attention mask, so they cannot be encoded here."
    )


def _in_precision(model: SentenceTransformer, precision: str) -> SentenceTransformer:
    """The retriever, or a copy whose transformers compute in a precision; pooling and projections get float32."""
    if precision == "float32" and all(parameter.dtype == torch.float32 for parameter in model.parameters()):
        return model
    model = copy.deepcopy(model).float()
    if precision == "bfloat16":
        for transformer in transformers_of(model):
            transformer.to(torch.bfloat16)
            transformer.register_forward_hook(_token_embeddings_to_float32)
    return model


def _token_embeddings_to_float32(module: torch.nn.Module, inputs: Any, output: Features) -> Features:
    output["token_embeddings"] = output["token_embeddings"].float()
    return output
