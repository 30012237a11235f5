"""The coCondenser step: documents per CPU second, memory and model FLOPs utilisation, beside the reference step."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from transformers import BertConfig

from benchmarks.measure import interleaved, matmul_rate, peak_memory, prepared_spans
from benchmarks.reference import pad_to, reference_step
from hf_cocondenser import CondenserConfig, CondenserForPreTraining
from hf_cocondenser.data.collator import CondenserCollator
from hf_cocondenser.data.dataset import SpanDataset
from hf_cocondenser.data.tokenizer import TOKENIZER_FOLDER, load_tokenizer
from hf_cocondenser.pretraining.arguments import CondenserTrainingArguments
from hf_cocondenser.pretraining.trainer import CondenserTrainer
from hf_cocondenser.retrieval.encode import resolve_precision

MAX_LENGTH = 128
VOCABULARY = 30522
SHAPES = {"2x128": (2, 128), "4x256": (4, 256), "6x384": (6, 384), "12x768": (12, 768)}


def make_model(shape: str, attention: str = "eager") -> CondenserForPreTraining:
    """A BERT of this shape with two Condenser head layers, BERT's vocabulary and BERT's dropout."""
    layers, hidden = SHAPES[shape]
    config = BertConfig(
        vocab_size=VOCABULARY,
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=max(2, hidden // 64),
        intermediate_size=4 * hidden,
    )
    torch.manual_seed(0)
    return CondenserForPreTraining._from_config(CondenserConfig(config), attn_implementation=attention)


def real_batch(documents: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Two masked spans of each of `documents` real documents, as training draws them."""
    folder = prepared_spans()
    spans = SpanDataset(folder, pairs=True, max_length=MAX_LENGTH)
    collator = CondenserCollator(load_tokenizer(folder / TOKENIZER_FOLDER), max_length=MAX_LENGTH)
    order = torch.randperm(len(spans), generator=torch.Generator().manual_seed(seed))
    indices = order.repeat(-(-documents // len(spans)))[:documents].tolist()
    batch = collator(
        [item for start in range(0, documents, 512) for item in spans.__getitems__(indices[start : start + 512])]
    )
    batch["document_ids"] = torch.arange(documents).repeat_interleave(2)
    return batch


def make_trainer(model: CondenserForPreTraining, **options: Any) -> CondenserTrainer:
    """The real trainer around a model, ready for `training_step`."""
    args = CondenserTrainingArguments(
        output_dir=tempfile.mkdtemp(),
        report_to="none",
        temperature=model.config.hidden_size**0.5,
        **{"use_cpu": True, **options},
    )
    trainer = CondenserTrainer(model, args)
    trainer.model_wrapped = trainer.accelerator.prepare(model)
    trainer.current_gradient_accumulation_steps = 1
    trainer.optimizer = None
    return trainer


def one_step(trainer: CondenserTrainer, batch: dict[str, torch.Tensor]) -> None:
    """A step of the real trainer, gradients thrown away."""
    trainer.training_step(trainer.model_wrapped, batch)
    trainer.model.zero_grad()


def _reference(shape: str, batch: dict[str, torch.Tensor]) -> Any:
    model = make_model(shape).train()
    padded = pad_to(batch, MAX_LENGTH, pad_id=0)

    def step() -> None:
        reference_step(model, padded, model.config.hidden_size**0.5)
        model.zero_grad()

    return step


def _ours(shape: str, batch: dict[str, torch.Tensor], **options: Any) -> Any:
    attention = options.pop("attention", "eager" if options.get("bf16") else "sdpa")
    trainer = make_trainer(make_model(shape, attention), **options)
    return lambda: one_step(trainer, batch)


def _run_once(maker: Any, shape: str, documents: int, options: dict[str, Any]) -> None:
    maker(shape, real_batch(documents), **options)()


def fastest_precision() -> str:
    """`bf16` where this processor multiplies it faster than float32, else `float32`: there it is a hundred times slower."""
    return "bf16" if resolve_precision("auto", torch.device("cpu")) == "bfloat16" else "float32"


def speed(shape: str, documents: int, repeats: int) -> dict[str, Any]:
    """Documents per CPU second of the reference and of our step, cached and not, in float32 and the fastest precision."""
    batch = real_batch(documents)
    fast = fastest_precision()
    bf16 = fast == "bf16"
    other = "sdpa" if bf16 else "eager"  # than pre-training takes by itself
    variants = {
        "reference, float32": _reference(shape, batch),
        "ours, float32, cached": _ours(shape, batch),
        f"ours, {fast}, cached": _ours(shape, batch, bf16=bf16),
        f"ours, {fast}, uncached": _ours(shape, batch, bf16=bf16, grad_cache=False),
        f"ours, {fast}, cached, {other}": _ours(shape, batch, bf16=bf16, attention=other),
    }
    times = interleaved(variants, repeats)
    tokens = int(batch["attention_mask"].sum())
    rows: dict[str, Any] = {}
    base = times["reference, float32"]["cpu_s"]
    for name, t in times.items():
        rows[name] = {
            "documents_per_cpu_s": documents / t["cpu_s"],
            "documents_per_s": documents / t["wall_s"],
            "tokens_per_cpu_s": tokens / t["cpu_s"],
            "ratio_to_reference": base / t["cpu_s"],
        }
    cached, uncached = times[f"ours, {fast}, cached"]["cpu_s"], times[f"ours, {fast}, uncached"]["cpu_s"]
    return {
        "shape": shape,
        "documents": documents,
        "padding_share_when_padded_to_128": 1 - tokens / (2 * documents * MAX_LENGTH),
        "steps": rows,
        "cost_of_the_cache": cached / uncached,
        "utilisation": utilisation(shape, batch, cached),
    }


def utilisation(shape: str, batch: dict[str, torch.Tensor], cpu_seconds_of_step: float) -> dict[str, float]:
    """Share of the machine's own large matmul rate (in the fastest precision) that the step's FLOPs on real tokens are.

    Counted: 2 FLOPs a weight and real token forward and 4 backward in every linear layer and the attention products;
    the vocabulary on masked tokens only, twice (head and late). `with_cache` adds the encoder's second forward pass,
    which the gradient cache cannot do without.
    """
    flops = step_flops(shape, batch)
    fast = fastest_precision()
    rate = matmul_rate(torch.bfloat16 if fast == "bf16" else torch.float32) * 1e9
    return {
        f"{fast}_matmul_gflop_per_cpu_s": rate / 1e9,
        "model_flops_utilisation": flops["model"] / cpu_seconds_of_step / rate,
        "with_cache": flops["with_cache"] / cpu_seconds_of_step / rate,
    }


def step_flops(shape: str, batch: dict[str, torch.Tensor]) -> dict[str, float]:
    """FLOPs of a step on real tokens: the model's, and those with the encoder's second forward pass."""
    layers, hidden = SHAPES[shape]
    lengths = batch["attention_mask"].sum(1).double()
    masked = float((batch["labels"] != -100).sum())
    per_layer = float((2 * 12 * hidden**2 * lengths + 4 * hidden * lengths**2).sum())
    encoder, head = layers * per_layer, 2 * per_layer
    vocabulary = 2 * masked * 2 * (hidden * VOCABULARY + hidden**2)
    return {
        "model": 3 * (encoder + head + vocabulary),
        "with_cache": 4 * encoder + 3 * (head + vocabulary),
    }


def memory(shape: str, documents: int) -> dict[str, float]:
    """Peak memory in GiB of a process that takes one step: the reference's and ours."""
    fast = fastest_precision()
    options = {"bf16": fast == "bf16"}
    runs: dict[str, tuple[Any, dict[str, Any]]] = {  # where float32 is the fastest, two of these are one
        "reference, float32": (_reference, {}),
        "ours, float32, cached": (_ours, {}),
        f"ours, {fast}, cached": (_ours, options),
        f"ours, {fast}, uncached": (_ours, options | {"grad_cache": False}),
    }
    alone = peak_memory(_build_only, shape, documents)
    peaks = {name: peak_memory(_run_once, maker, shape, documents, o) for name, (maker, o) in runs.items()}
    return {"libraries, model and batch alone": alone} | peaks


def _build_only(shape: str, documents: int) -> None:
    make_trainer(make_model(shape))
    real_batch(documents)


def growth(shape: str, sizes: tuple[int, ...] = (64, 512, 4096)) -> dict[str, float]:
    """Peak memory in GiB of a cached step at growing batches."""
    options = {"bf16": fastest_precision() == "bf16"}
    return {f"{n} documents": peak_memory(_run_once, _ours, shape, n, options) for n in sizes}


def _contrast(spans: int, size: int) -> None:
    from hf_cocondenser.losses import span_contrastive_loss

    vectors = torch.randn(spans, size, requires_grad=True)
    span_contrastive_loss(vectors, torch.arange(spans // 2).repeat_interleave(2), size**0.5).loss.backward()


def similarities(spans: int = 65_536, size: int = 256) -> dict[str, float]:
    """Peak memory in GiB of the span contrastive loss and its gradient, and what the matrix alone would take."""
    return {
        "libraries alone": peak_memory(_contrast, 64, size),
        f"{spans} spans": peak_memory(_contrast, spans, size),
        "the similarity matrix": spans**2 * 4 / 2**30,
    }
