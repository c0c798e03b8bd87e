"""``asteroid-stab bench layers``: time and peak memory of a training step with the estimates of every layer."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

from asteroid_stab.cli.arguments import positive
from bench.measure import peak_bytes, take_turns
from bench.options import add_device, add_json, check, pinned_threads, write

SUMMARY = "time and peak memory of layer-wise training beside the plain model's"
SIDES = ("plain", "watched", "layerwise")
"""The model alone; with the earlier layers looked at; with a loss for every layer."""


def model_of(kind: str, n_layers: int, n_src: int) -> Any:
    """A model of the size of Asteroid's recipes with ``n_layers`` layers, and fewer channels for the CPU."""
    from asteroid.models import ConvTasNet, DPRNNTasNet, DPTNet, SuDORMRFImprovedNet

    makers: dict[str, Callable[[], Any]] = {
        "convtasnet": partial(ConvTasNet, n_src, n_filters=128, n_blocks=4, n_repeats=n_layers, bn_chan=64,
                              hid_chan=128, skip_chan=64, mask_act="relu"),
        "dprnn": partial(DPRNNTasNet, n_src, n_repeats=n_layers, hid_size=64, bn_chan=64, kernel_size=16, stride=8),
        "dptnet": partial(DPTNet, n_src, n_repeats=n_layers, ff_hid=64, kernel_size=16, stride=8),
        "sudormrf": partial(SuDORMRFImprovedNet, n_src, num_blocks=n_layers),
    }  # fmt: skip
    return makers[kind]()


MODELS = ("convtasnet", "dprnn", "dptnet", "sudormrf")


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
        model = layered_model(model)
        loss_func = LayerwiseLossWrapper(loss_func, weights="uniform" if side == "layerwise" else "last")
    if side == "watched":
        model.watch_early()
    sources = torch.randn(n_items, n_src, n_samples, device=device)
    mixture = sources.sum(1)

    def call() -> None:
        model.zero_grad()
        loss_func(model(mixture), sources).backward()

    return call


def measure(options: argparse.Namespace, kind: str) -> dict[str, Any]:
    """Least seconds and peak bytes of each side."""
    sizes = (kind, options.layers, options.n_src, options.batch_size)
    prepared = {side: prepare(side, *sizes, options.n_samples, options.device) for side in SIDES}
    seconds = take_turns(prepared, options.rounds, options.budget_s, options.device)
    peaks = {}
    for side in SIDES:
        args, warm = ((side, *sizes, n, options.device) for n in (options.n_samples, 2000))
        peaks[side] = peak_bytes(f"{kind}, {side},", prepare, args, warm, options.device, options.threads)
    return {"model": kind, "least_s": {side: min(values) for side, values in seconds.items()}, "peak_bytes": peaks}


def main(argv: list[str]) -> int:
    """Measures, prints a table, and writes the numbers to a file where one is asked for."""
    parser = argparse.ArgumentParser(prog="asteroid-stab bench layers", description=SUMMARY)
    parser.add_argument("--models", choices=MODELS, nargs="+", default=MODELS, help="models (all)")
    parser.add_argument("--layers", type=positive, default=6, help="layers (%(default)s)")
    parser.add_argument("--n-src", type=positive, default=2, help="sources (%(default)s)")
    parser.add_argument("--batch-size", type=positive, default=4, help="items (%(default)s)")
    parser.add_argument("--n-samples", type=positive, default=16000, help="samples a signal (%(default)s)")
    add_device(parser)
    parser.add_argument("--rounds", type=positive, default=10, help="rounds of all sides (%(default)s)")
    parser.add_argument("--budget-s", type=float, default=30.0, help="seconds for the rounds of a model (%(default)s)")
    add_json(parser)
    options = parser.parse_args(argv)
    check(options)

    from rich import box
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    with pinned_threads(options.threads):
        progress = Console(stderr=True)
        rows = [measure(options, kind) for kind in track(options.models, "measuring", console=progress, transient=True)]
    title = (
        f"forward + backward, {options.layers} layers: plain, watched, a loss for every layer\n"
        f"J = {options.n_src}, B = {options.batch_size}, T = {options.n_samples}, {options.device}, "
        f"{options.threads} thread(s)"
    )
    heads = ["model", "plain\nms", "watched", "layer-wise", "plain\nMiB", "watched", "layer-wise"]
    table = Table(*heads, title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for row in rows:
        cells = [row["model"]]
        for key, unit in (("least_s", 1e3), ("peak_bytes", 2**-20)):
            plain = row[key]["plain"]
            cells += [f"{plain * unit:.0f}", *(f"{row[key][side] / plain:.2f}×" for side in SIDES[1:])]
        table.add_row(*cells)
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    Console().print(table)
    write(options, {"rows": rows}, ("torch", "asteroid"))
    return 0
