"""Where the time of a coCondenser step goes: self CPU time by group of operations, on one thread."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, record_function

from benchmarks.measure import cpu_seconds, matmul_rate
from benchmarks.step import make_model, make_trainer, one_step, real_batch, step_flops

DATA, BACKWARD, VOCABULARY = "draw and mask", "autograd::engine::evaluate_function", "_LinearCrossEntropy"
PRODUCTS = {"aten::mm", "aten::addmm", "aten::addmm_", "aten::bmm"}


def profile(shape: str, documents: int) -> dict[str, Any]:
    """Seconds, share of the whole and, for matrix products, share of the large products' rate, by group.

    One step of the real trainer in float32 with sdpa, AdamW's update, and the making of its batch, after a warm-up.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the profiler sees the calling thread's time only
    try:
        trainer = make_trainer(make_model(shape, "sdpa"))
        optimizer = torch.optim.AdamW(trainer.model.parameters())

        def work() -> None:
            with record_function(DATA):
                batch = real_batch(documents)
            trainer.training_step(trainer.model_wrapped, batch)
            optimizer.step()
            optimizer.zero_grad()

        batch = real_batch(documents)
        work()
        plain = cpu_seconds(lambda: one_step(trainer, batch))[0]
        with torch.profiler.profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
            work()
        rate = matmul_rate(torch.float32) * 1e9
    finally:
        torch.set_num_threads(threads)
    seconds: dict[str, float] = defaultdict(float)
    flops: dict[str, float] = defaultdict(float)
    for event in profiler.events() or []:
        name = group(event)
        seconds[name] += event.self_cpu_time_total / 1e6
        if event.name in PRODUCTS:
            # an output that is given stands behind the factors, what is added to before them
            first = 1 if "addmm" in event.name else 0
            left, right = event.input_shapes[first : first + 2]
            flops[name] += 2.0 * math.prod(left) * right[-1]
    whole = sum(seconds.values())
    groups = {
        name: {"seconds": round(value, 3), "share": round(value / whole, 4)}
        | ({"share_of_the_matmul_rate": round(flops[name] / value / rate, 3)} if flops[name] else {})
        for name, value in sorted(seconds.items(), key=lambda item: -item[1])
    }
    needed = step_flops(shape, batch)
    return {
        "shape": shape,
        "documents": documents,
        "groups": groups,
        "cpu_seconds_of_a_step_without_profiler": plain,
        "float32_matmul_gflop_per_cpu_s": rate / 1e9,
        "model_flops_utilisation": needed["model"] / plain / rate,
        "with_cache": needed["with_cache"] / plain / rate,
    }


def group(event: FunctionEvent) -> str:
    """The group an operation belongs to, by its own name and those of the operations that called it."""
    names = {event.name}
    parent = event.cpu_parent
    while parent is not None:
        names.add(parent.name)
        parent = parent.cpu_parent

    def within(*parts: str) -> bool:
        return any(part in name for name in names for part in parts)

    direction = "backward" if within(BACKWARD) else "forward"
    if DATA in names:
        return "drawing and masking the batch"
    if within("Optimizer.step", "Optimizer.zero_grad"):
        return "optimizer"
    if within(VOCABULARY):
        return "vocabulary: products" if event.name in PRODUCTS else "vocabulary: softmax and the rest"
    if event.name == "aten::bernoulli_":
        return "dropout: random numbers"
    if within("dropout", "MulBackward"):
        return "dropout: applied"
    if event.name == "aten::bmm":
        return f"attention: products, {direction}"
    if within("scaled_dot_product_attention", "SoftmaxBackward", "aten::softmax"):
        return "attention: softmax and the rest"
    if event.name in PRODUCTS:
        return f"linear layers: products, {direction}"
    for part, name in (
        ("gelu", "GELU"),
        ("Gelu", "GELU"),
        ("layer_norm", "layer norm"),
        ("LayerNorm", "layer norm"),
        ("mbedding", "embeddings"),
        ("AccumulateGrad", "adding gradients up"),
    ):
        if within(part):
            return name
    return f"rest, {direction}"
