"""`python -m benchmarks.accelerator`: the coCondenser step on a GPU, tokens per second, utilisation, memory, idle time.

Ours (bf16; sdpa, flash attention 2 where its package is installed, each with and without torch.compile unless
`--no-compile`) beside the reference step (bf16 autocast, eager attention, everything padded, vocabulary logits
everywhere), in turns. `--device cpu` with a small `--shape` and `--documents` shows that the script runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers.utils import is_flash_attn_2_available

from benchmarks.measure import machine, prepared_spans
from benchmarks.reference import pad_to, reference_step
from benchmarks.step import MAX_LENGTH, SHAPES, make_model, make_trainer, one_step, real_batch, step_flops
from hf_cocondenser.data.collator import CondenserCollator
from hf_cocondenser.data.dataset import SpanDataset
from hf_cocondenser.data.tokenizer import TOKENIZER_FOLDER, load_tokenizer

MATRIX, PRODUCTS = 8192, 20


def main() -> None:
    """Parse, measure, print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accelerator", description=__doc__)
    parser.add_argument("--shape", default="12x768", choices=list(SHAPES))
    parser.add_argument("--documents", type=int, default=2048)
    parser.add_argument("--reference-documents", type=int, default=256, help="the reference pays for every logit")
    parser.add_argument("--chunk-tokens", type=int, nargs="+", default=[16_384, 65_536])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="also compiled")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    o = parser.parse_args()
    device = torch.device(o.device)
    rate = matmul_rate(device)
    batch = _to(real_batch(o.documents), device)
    variants = {
        f"ours, {attention}, chunks of {tokens}{', compiled' if compiled else ''}": _ours(
            o.shape, batch, device, attention, tokens, compiled
        )
        for attention in ("sdpa", *(["flash_attention_2"] if is_flash_attn_2_available() else []))
        for tokens in o.chunk_tokens
        for compiled in ((False, True) if o.compile else (False,))
    }
    small = _to(real_batch(o.reference_documents), device)
    variants["reference"] = _reference(o.shape, small, device)
    rows = {}
    for name, work in variants.items():
        of = small if name == "reference" else batch
        seconds, gibibytes = timed(work, device, o.repeats)
        tokens = int(of["attention_mask"].sum())
        rows[name] = {
            "documents_per_s": len(of["input_ids"]) / 2 / seconds,
            "tokens_per_s": tokens / seconds,
            "model_flops_utilisation": step_flops(o.shape, of)["model"] / seconds / rate,
            "peak_gib": gibibytes,
        }
    fastest = max(row["tokens_per_s"] for row in rows.values())
    loaded = loader_rate(o.documents, o.workers)
    report = {
        "machine": machine(),
        "command": "python -m benchmarks.accelerator " + " ".join(sys.argv[1:]),
        "bf16_matmul_tflop_per_s": rate / 1e12,
        "steps": rows,
        "loader_tokens_per_s": loaded,
        "idle_share": max(0.0, 1 - loaded / fastest),
    }
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


def matmul_rate(device: torch.device) -> float:
    """FLOP per second of large bf16 products (float32 on a CPU, which may have no bf16 unit)."""
    dtype, size = (torch.bfloat16, MATRIX) if device.type == "cuda" else (torch.float32, 1024)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return PRODUCTS * 2 * size**3 / timed(lambda: [a @ b for _ in range(PRODUCTS)], device, 3)[0]


def timed(work: Callable[[], Any], device: torch.device, repeats: int) -> tuple[float, float]:
    """Median wall seconds after one warm-up, and peak GiB on the device (0 on a CPU)."""
    on_gpu = device.type == "cuda"
    work()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(repeats):
        if on_gpu:
            torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), torch.cuda.max_memory_allocated() / 2**30 if on_gpu else 0.0


def loader_rate(documents: int, workers: int, batches: int = 8) -> float:
    """Real tokens per second that the data loader gives, masked and padded, with nothing else to do."""
    folder = prepared_spans()
    spans = SpanDataset(folder, pairs=True, max_length=MAX_LENGTH)
    collator = CondenserCollator(load_tokenizer(folder / TOKENIZER_FOLDER), max_length=MAX_LENGTH)
    size = min(documents, len(spans) // (batches + 1))
    loader = DataLoader(spans, batch_size=size, shuffle=True, collate_fn=collator, num_workers=workers)
    iterator = iter(loader)
    next(iterator)
    started, tokens = time.perf_counter(), 0
    for _ in range(batches):
        tokens += int(next(iterator)["attention_mask"].sum())
    return tokens / (time.perf_counter() - started)


def _to(batch: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    return {name: value.to(device) for name, value in batch.items()}


def _ours(
    shape: str, batch: dict[str, torch.Tensor], device: torch.device, attention: str, tokens: int, compiled: bool
) -> Callable[[], None]:
    on_gpu = device.type == "cuda"
    trainer = make_trainer(
        make_model(shape, attention),
        use_cpu=not on_gpu,
        bf16=on_gpu,
        chunk_tokens=tokens,
        torch_compile=compiled,
    )
    return lambda: one_step(trainer, batch)


def _reference(shape: str, batch: dict[str, torch.Tensor], device: torch.device) -> Callable[[], None]:
    model = make_model(shape).to(device).train()
    padded = pad_to(batch, MAX_LENGTH, pad_id=0)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            reference_step(model, padded, model.config.hidden_size**0.5)
        model.zero_grad()

    return step


if __name__ == "__main__":
    main()
