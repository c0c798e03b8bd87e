"""``asteroid-stab bench step``: a whole training step under every assignment loss, and what methods add to it."""

from __future__ import annotations

import argparse
import copy
import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from bench import methods
from bench.frame import Bench, Numbers, progress, setting, table
from bench.measure import least_times
from bench.pit import batch, loss_of

if TYPE_CHECKING:
    from torch import nn

SIDES = ("asteroid", "hungarian", "sink", "attention")
FUSED = "fused"
"""The exact loss with the model's layers in fast kernels; the other sides train Asteroid's own model."""
_SHORT = {"asteroid": "Asteroid", "hungarian": "Hun", "sink": "Sink", "attention": "Attn", "fused": "fused"}
METHOD_ROUNDS = 5  # for each round of the steps
MODELS: dict[str, dict[str, int]] = {
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
    """A step of each side: forward, backward and Adam of ``model``; without one the loss's forward and backward."""
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


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Slope of log(seconds) over log(sizes), by least squares.

    Example:
        >>> round(exponent([2, 5, 10], [0.04, 0.25, 1.0]), 6)
        2.0
    """
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def measure(options: argparse.Namespace) -> Numbers:
    """A row for each number of sources."""
    return {"rows": [measure_row(options, n_src) for n_src in progress(options.n_src)]}


def measure_row(options: argparse.Namespace, n_src: int) -> Numbers:
    """Seconds of the step and of the loss alone, by side; and of the loss alone under each method."""
    from asteroid.models import ConvTasNet

    from asteroid_stab.masknn import use_fast_kernels

    model = ConvTasNet(n_src, mask_act="relu", **MODELS[options.model]).to(options.device)
    sizes = (options.batch_size, n_src, options.n_samples, options.device)
    with warnings.catch_warnings():  # Asteroid's search makes a tensor of a list; noise does not converge at beta 10
        warnings.simplefilter("ignore")
        calls = steps(model, *sizes)
        calls[FUSED] = steps(use_fast_kernels(copy.deepcopy(model)), *sizes)["hungarian"]
        step = least_times(calls, options.rounds, options.budget_s, options.device)
        loss = least_times(steps(None, *sizes), options.rounds, options.budget_s, options.device)
        # Many rounds: what a method adds is less than what one round differs from another.
        made = methods.calls(*sizes)
        method = least_times(made, METHOD_ROUNDS * options.rounds, options.budget_s, options.device)
    return {"n_src": n_src, "step_s": step, "loss_s": loss, "method_s": method}


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.{1 if seconds < 1 else 0}f}"


def show(numbers: Numbers, options: argparse.Namespace) -> list[Any]:
    """A table of the steps, and one of the losses."""
    where = f"B = {options.batch_size}, T = {options.n_samples}, {setting(options)}"
    titles = {"step_s": f"training step, ConvTasNet ({options.model}), {where}", "loss_s": "loss alone"}
    return [*(_table(numbers["rows"], key, title) for key, title in titles.items()), _added(numbers["rows"])]


def added(row: Numbers) -> dict[str, float]:
    """Returns the share that each method adds to the step of the exact loss: its loss alone beside plain PIT's.

    Example:
        >>> row = {"step_s": {"hungarian": 2.0}, "method_s": {"plain": 0.1, "hysteresis": 0.12}}
        >>> {name: round(part, 6) for name, part in added(row).items()}
        {'hysteresis': 0.01}
    """
    seconds, step = row["method_s"], row["step_s"]["hungarian"]
    plain = seconds[methods.PLAIN]
    return {name: (own - plain) / step for name, own in seconds.items() if name != methods.PLAIN}


def _added(rows: list[Numbers]) -> Any:
    parts = [added(row) for row in rows]
    heads = ["method", *(f"J = {row['n_src']}\n%" for row in rows)]
    cells = [[name, *(f"{100 * part[name]:+.2f}" for part in parts)] for name in parts[0]]
    return table("added to a step (Hun)", heads, cells)


def _table(rows: list[Numbers], key: str, title: str) -> Any:
    sides = list(rows[0][key])
    heads = ["J", *(f"{_SHORT[side]}\nms" for side in sides), *(f"{_SHORT[side]}\nfaster" for side in sides[1:])]
    cells = []
    for row in rows:
        seconds = row[key]
        ratios = [f"{seconds['asteroid'] / seconds[side]:.2f}×" for side in sides[1:]]
        cells.append([str(row["n_src"]), *(_ms(seconds[side]) for side in sides), *ratios])
    if len(rows) > 1:
        exponents = [exponent([r["n_src"] for r in rows], [r[key][side] for r in rows]) for side in sides]
        cells.append(["J^", *(f"{value:.2f}" for value in exponents)])
    return table(title, heads, cells)


BENCH = Bench(
    name="step",
    summary="a training step and its loss alone, under each assignment loss, as the sources grow in number; and what "
    "methods add to it",
    measure=measure,
    show=show,
    shared={
        "n_src": [2, 5, 10, 20], "batch_size": 8, "n_samples": 12_000, "threads": 1, "device": "cpu",
        "rounds": 20, "budget_s": 20.0
    },
    options={"--model": {"choices": MODELS, "default": "small", "help": "size of the ConvTasNet (small)"}},
)  # fmt: skip
