"""``asteroid-stab bench kernels``: a training step of each network with this package's layers beside Asteroid's own."""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.frame import Bench, Numbers, progress, setting, table
from bench.measure import least_times
from bench.models import OWN, SMALL, model_of

if TYPE_CHECKING:
    from torch import nn

REFINER = "refiner"
"""Latent iterative refinement, whose blocks are SuDoRM-RF's; "Asteroid" is this network with Asteroid's layers."""
KINDS = (SMALL, *OWN, REFINER)
N_LAYERS = 3


def network(kind: str, n_src: int) -> nn.Module:
    """Returns a network of a kind with the layers of torch and Asteroid."""
    import torch

    from asteroid_stab.masknn.kernels import stock_kernels
    from asteroid_stab.models import LatentRefinementNet

    torch.manual_seed(0)
    if kind == REFINER:
        model: nn.Module = LatentRefinementNet(n_src, n_blocks=2, n_iterations=3, n_filters=256, bn_chan=64)
    else:
        model = model_of(kind, N_LAYERS, n_src)
    with stock_kernels(model):
        return copy.deepcopy(model)


def step_of(model: nn.Module, loss_func: Any, options: argparse.Namespace, n_src: int) -> Callable[[], None]:
    """Forward, backward and Adam."""
    import torch

    torch.manual_seed(1)
    targets = torch.randn(options.batch_size, n_src, options.n_samples, device=options.device)
    mixture, optimizer = targets.sum(1), torch.optim.Adam(model.parameters(), lr=0.0)

    def step() -> None:
        optimizer.zero_grad()
        loss_func(model(mixture), targets).backward()
        optimizer.step()

    return step


def measure(options: argparse.Namespace) -> Numbers:
    """A row for each network and number of sources."""
    rows = [(kind, n_src) for n_src in options.n_src for kind in options.models]
    return {"rows": [measure_row(options, *row) for row in progress(rows)]}


def measure_row(options: argparse.Namespace, kind: str, n_src: int) -> Numbers:
    """Seconds of a step by side, and seconds of the first compiled step; None where nothing is compiled."""
    import torch
    from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr

    from asteroid_stab.losses import ExactPITLossWrapper
    from asteroid_stab.masknn import use_fast_kernels

    stock = network(kind, n_src).to(options.device)
    fast = use_fast_kernels(copy.deepcopy(stock))
    exact = ExactPITLossWrapper(pairwise_neg_sisdr)
    first = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Asteroid's search makes a tensor of a list
        calls = {
            "asteroid": step_of(stock, PITLossWrapper(pairwise_neg_sisdr), options, n_src),
            "ours": step_of(fast, exact, options, n_src),
        }
        if options.compile:
            compiled: Any = torch.compile(copy.deepcopy(stock))
            calls["compiled"] = step_of(compiled, exact, options, n_src)
            begin = time.perf_counter()
            calls["compiled"]()
            first = time.perf_counter() - begin
        seconds = least_times(calls, options.rounds, options.budget_s, options.device)
    return {"model": kind, "n_src": n_src, "step_s": seconds, "compile_s": first}


def show(numbers: Numbers, options: argparse.Namespace) -> list[Any]:
    """A table of the steps, each beside Asteroid's; and after how many steps compiling has paid."""
    heads = ["model", "J", "Asteroid\nms", "ours\nms", "faster"]
    heads += ["compiled\nms", "faster", "first step\ns", "pays after\nsteps"] if options.compile else []
    cells = []
    for row in numbers["rows"]:
        own = row["step_s"]
        cell = [row["model"], str(row["n_src"]), f"{1e3 * own['asteroid']:.0f}", f"{1e3 * own['ours']:.0f}"]
        cell.append(f"{own['asteroid'] / own['ours']:.2f}×")
        if options.compile:
            cell += [f"{1e3 * own['compiled']:.0f}", f"{own['asteroid'] / own['compiled']:.2f}×"]
            cell += [f"{row['compile_s']:.0f}", pays_after(row)]
        cells.append(cell)
    where = f"B = {options.batch_size}, T = {options.n_samples}, {setting(options)}"
    return [table(f"training step, {N_LAYERS} layers, {where}", heads, cells)]


def pays_after(row: Numbers) -> str:
    """Returns the number of steps after which compiled ones have made up for the first; "never" if they are no faster.

    Example:
        >>> pays_after({"step_s": {"ours": 0.2, "compiled": 0.1}, "compile_s": 60.0})
        '600'
    """
    gained = row["step_s"]["ours"] - row["step_s"]["compiled"]
    return f"{row['compile_s'] / gained:.0f}" if gained > 0 else "never"


BENCH = Bench(
    name="kernels",
    summary="a training step of each network with this package's layers beside Asteroid's own",
    measure=measure,
    show=show,
    shared={
        "n_src": [2], "batch_size": 4, "n_samples": 12_000, "threads": 1, "device": "cpu", "rounds": 10,
        "budget_s": 30.0
    },
    options={
        "--models": {
            "nargs": "+", "choices": KINDS, "default": list(KINDS), "help": f"networks ({', '.join(KINDS)})",
        },
        "--compile": {"action": "store_true", "help": "torch.compile beside them; on a CPU it needs a C++ compiler"},
    },
)  # fmt: skip
