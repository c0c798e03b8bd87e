"""``asteroid-stab bench layers``: time and peak memory of a training step with the estimates of every layer."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from asteroid_stab.cli.arguments import positive
from bench.frame import Bench, Numbers, progress, setting, table
from bench.measure import least_times, peak_bytes
from bench.models import HOSTED, MODELS, OWN, model_of

SIDES = ("plain", "watched", "layerwise")
"""The model alone; with the estimates of the earlier layers, without gradient; with a loss for every layer."""


def prepare(
    side: str, kind: str, n_layers: int, n_src: int, n_items: int, n_samples: int, device: str
) -> Callable[[], None]:
    """A forward and backward pass of a side."""
    import torch
    from asteroid.losses import pairwise_neg_sisdr

    from asteroid_stab.losses import ExactPITLossWrapper, LayerwiseLossWrapper
    from asteroid_stab.models import layered_model

    torch.manual_seed(0)
    model, loss_func = model_of(kind, n_layers, n_src).to(device), ExactPITLossWrapper(pairwise_neg_sisdr)
    if side != "plain":
        model = layered_model(model, layers=HOSTED.get(kind))
        loss_func = LayerwiseLossWrapper(loss_func, weights="uniform" if side == "layerwise" else "last")
    if side == "watched":
        model.watch_early()
    sources = torch.randn(n_items, n_src, n_samples, device=device)
    mixture = sources.sum(1)

    def call() -> None:
        model.zero_grad()
        loss_func(model(mixture), sources).backward()

    return call


def measure(options: argparse.Namespace) -> Numbers:
    """A row for each model."""
    return {"rows": [measure_row(options, kind) for kind in progress(options.models)]}


def measure_row(options: argparse.Namespace, kind: str) -> Numbers:
    """Least seconds and peak bytes of each side."""
    sizes = (kind, options.layers, options.n_src, options.batch_size)
    prepared = {side: prepare(side, *sizes, options.n_samples, options.device) for side in SIDES}
    least_s = least_times(prepared, options.rounds, options.budget_s, options.device)
    peaks = {}
    for side in SIDES:
        args, warm = ((side, *sizes, n, options.device) for n in (options.n_samples, 2000))
        peaks[side] = peak_bytes(f"{kind}, {side},", prepare, args, warm, options.device, options.threads)
    return {"model": kind, "least_s": least_s, "peak_bytes": peaks}


def show(numbers: Numbers, options: argparse.Namespace) -> list[Any]:
    """The table."""
    title = (
        f"forward + backward, {options.layers} layers: plain, watched, a loss for every layer\n"
        f"J = {options.n_src}, B = {options.batch_size}, T = {options.n_samples}, {setting(options)}"
    )
    heads = ["model", "plain\nms", "watched", "layer-wise", "plain\nMiB", "watched", "layer-wise"]
    cells = []
    for row in numbers["rows"]:
        cells.append([row["model"]])
        for key, unit in (("least_s", 1e3), ("peak_bytes", 2**-20)):
            plain = row[key]["plain"]
            cells[-1] += [f"{plain * unit:.0f}", *(f"{row[key][side] / plain:.2f}×" for side in SIDES[1:])]
    return [table(title, heads, cells, n_left=1)]


BENCH = Bench(
    name="layers",
    summary="time and peak memory of layer-wise training beside the plain model's",
    measure=measure,
    show=show,
    shared={
        "n_src": 2, "batch_size": 4, "n_samples": 16_000, "threads": 1, "device": "cpu", "rounds": 10,
        "budget_s": 30.0
    },
    options={
        "--models": {"choices": MODELS, "nargs": "+", "default": OWN, "help": f"models ({', '.join(OWN)})"},
        "--layers": {"type": positive, "default": 6, "metavar": "K", "help": "layers (6)"},
    },
)  # fmt: skip
