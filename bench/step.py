"""``asteroid-stab bench step``: a whole training step under every assignment loss, beside Asteroid's."""

from __future__ import annotations

import argparse
import copy
import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from asteroid_stab.cli.arguments import positive
from bench.measure import take_turns
from bench.options import add_device, add_json, check, pinned_threads, write
from bench.pit import batch, loss_of

if TYPE_CHECKING:
    from torch import nn

SUMMARY = "a training step and its loss alone, under each assignment loss, as the sources grow in number"
SIDES = ("asteroid", "hungarian", "sink", "attention")
FUSED = "fused"
"""The exact loss with the model's global norms in one kernel; the other sides have Asteroid's own model."""
_SHORT = {"asteroid": "Asteroid", "hungarian": "Hun", "sink": "Sink", "attention": "Attn", "fused": "fused"}
_MODELS: dict[str, dict[str, int]] = {
    "paper": {},  # Asteroid's default size
    "small": {"n_filters": 128, "kernel_size": 32, "stride": 16, "n_blocks": 6, "n_repeats": 2, "bn_chan": 64,
              "hid_chan": 128, "skip_chan": 64},
}  # fmt: skip


def losses(n_src: int, device: str) -> dict[str, Any]:
    """The losses by name, each of (estimates, targets) to a scalar; Asteroid's pairwise loss with its exact search."""
    from asteroid.losses import pairwise_neg_sisdr

    from asteroid_stab.losses import AttentionPITLossWrapper, ExactPITLossWrapper, SinkPITLossWrapper

    attention = AttentionPITLossWrapper(pairwise_neg_sisdr, n_src)
    attention.regularization_weight = 1.0
    return {
        "asteroid": partial(loss_of, "asteroid"),
        "hungarian": ExactPITLossWrapper(pairwise_neg_sisdr),
        "sink": SinkPITLossWrapper(pairwise_neg_sisdr),
        "attention": attention.to(device),
    }


def steps(model: nn.Module | None, n_items: int, n_src: int, n_samples: int, device: str) -> dict[str, Callable]:
    """A step of each side: forward, backward and Adam with ``model``, or the loss' forward and backward without."""
    import torch

    est, targets = batch(n_items, n_src, n_samples, device)
    mixture = targets.sum(1)
    parameters = [] if model is None else list(model.parameters())

    def step_of(loss_func: Any) -> Callable[[], None]:
        own = list(loss_func.parameters()) if isinstance(loss_func, torch.nn.Module) else []
        optimizer = torch.optim.Adam([*parameters, *own], lr=0.0) if model is not None else None

        def step() -> None:
            est.grad = None
            if optimizer is not None:
                optimizer.zero_grad()
            loss_func(est if model is None else model(mixture), targets).backward()
            if optimizer is not None:
                optimizer.step()

        return step

    return {name: step_of(loss_func) for name, loss_func in losses(n_src, device).items()}


def least_times(calls: dict[str, Callable], n_rounds: int, budget_s: float, device: str) -> dict[str, float]:
    """Least seconds of each call: what the code needs; a machine that is shared adds to it, never takes away."""
    return {name: min(values) for name, values in take_turns(calls, n_rounds, budget_s, device).items()}


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Slope of log(seconds) over log(sizes), by least squares.

    Example:
        >>> round(exponent([2, 5, 10], [0.04, 0.25, 1.0]), 6)
        2.0
    """
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def measure(options: argparse.Namespace, n_src: int) -> dict[str, Any]:
    """One row: seconds of the step and of the loss alone, by side."""
    from asteroid.models import ConvTasNet

    from asteroid_stab.masknn import fuse_norms

    model = ConvTasNet(n_src, mask_act="relu", **_MODELS[options.model]).to(options.device)
    sizes = (options.batch_size, n_src, options.n_samples, options.device)
    with warnings.catch_warnings():  # Asteroid's search makes a tensor of a list; noise does not converge at beta 10
        warnings.simplefilter("ignore")
        calls = steps(model, *sizes)
        calls[FUSED] = steps(fuse_norms(copy.deepcopy(model)), *sizes)["hungarian"]
        step = least_times(calls, options.rounds, options.budget_s, options.device)
        loss = least_times(steps(None, *sizes), options.rounds, options.budget_s, options.device)
    return {"n_src": n_src, "step_s": step, "loss_s": loss}


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.{1 if seconds < 1 else 0}f}"


def _tables(rows: list[dict[str, Any]], options: argparse.Namespace) -> list[Any]:
    from rich import box
    from rich.table import Table

    where = f"B = {options.batch_size}, T = {options.n_samples}, {options.device}, {options.threads} thread(s)"
    made = []
    for key, title in (("step_s", f"training step, ConvTasNet ({options.model}), {where}"), ("loss_s", "loss alone")):
        sides = list(rows[0][key])
        times = [f"{_SHORT[side]}\nms" for side in sides]
        faster = [f"{_SHORT[side]}\nfaster" for side in sides[1:]]
        table = Table(
            "J", *times, *faster, title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        for row in rows:
            took = row[key]
            ratios = [f"{took['asteroid'] / took[side]:.2f}×" for side in sides[1:]]
            table.add_row(str(row["n_src"]), *(_ms(took[side]) for side in sides), *ratios)
        if len(rows) > 1:
            grown = [exponent([r["n_src"] for r in rows], [r[key][side] for r in rows]) for side in sides]
            table.add_row("J^", *(f"{value:.2f}" for value in grown), *[""] * len(sides[1:]))
        for column in table.columns:
            column.justify, column.no_wrap = "right", True
        made.append(table)
    return made


def main(argv: list[str]) -> int:
    """Measures, prints two tables, and writes the numbers to a file where one is asked for."""
    parser = argparse.ArgumentParser(prog="asteroid-stab bench step", description=SUMMARY)
    parser.add_argument("--n-src", type=positive, nargs="+", default=[2, 5, 10, 20], help="numbers of sources")
    parser.add_argument("--model", choices=_MODELS, default="small", help="size of the ConvTasNet (%(default)s)")
    parser.add_argument("--batch-size", type=positive, default=8, help="items (%(default)s)")
    parser.add_argument("--n-samples", type=positive, default=12000, help="samples a signal (%(default)s)")
    add_device(parser)
    parser.add_argument("--rounds", type=positive, default=20, help="rounds of all sides (%(default)s)")
    parser.add_argument("--budget-s", type=float, default=20.0, help="seconds for the rounds of a row (%(default)s)")
    add_json(parser)
    options = parser.parse_args(argv)
    check(options)

    from rich.console import Console
    from rich.progress import track

    with pinned_threads(options.threads):
        progress = Console(stderr=True)
        rows = [measure(options, n) for n in track(options.n_src, "measuring", console=progress, transient=True)]
    for table in _tables(rows, options):
        Console().print(table)
    write(options, {"rows": rows}, ("torch", "asteroid"))
    return 0
