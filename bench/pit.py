"""``asteroid-stab bench pit``: the exact PIT loss beside Asteroid's, forward and backward."""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.frame import Bench, Numbers, progress, setting, table
from bench.measure import peak_bytes, take_turns

if TYPE_CHECKING:
    from torch import Tensor

SIDES = ("asteroid", "ours")
MIN_ROUNDS = 3
NOISE = 0.3  # of estimates around unit targets: an SI-SDR near 10 dB


def batch(n_items: int, n_src: int, n_samples: int, device: str) -> tuple[Tensor, Tensor]:
    """Estimates, which require a gradient, and targets; each item's estimates are in a random order.

    Example:
        >>> est, targets = batch(2, 3, 50, "cpu")
        >>> est.shape == targets.shape, est.requires_grad
        (True, True)
    """
    import torch

    random = torch.Generator().manual_seed(n_src)
    targets = torch.randn(n_items, n_src, n_samples, generator=random)
    est = torch.randn(n_items, n_src, n_samples, generator=random).mul_(NOISE)
    for item in range(n_items):  # item by item, so that no copy of the batch raises the memory before the call
        est[item] += targets[item, torch.randperm(n_src, generator=random)]
    return est.to(device).requires_grad_(), targets.to(device)


def loss_of(side: str, est: Tensor, targets: Tensor) -> Tensor:
    """Mean negative SI-SDR under the best permutation, in dB."""
    from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr

    from asteroid_stab.losses.pit_wrapper import ExactPITLossWrapper

    if side == "ours":
        return ExactPITLossWrapper(pairwise_neg_sisdr)(est, targets)  # type: ignore[return-value]
    with warnings.catch_warnings():  # Asteroid's Hungarian search makes a tensor of a list of arrays
        warnings.filterwarnings("ignore", message="Creating a tensor from a list of numpy")
        if targets.shape[1] < 10:
            return PITLossWrapper(pairwise_neg_sisdr)(est, targets)
        # The wrapper refuses 10 sources and more; its functions do not.
        return PITLossWrapper.find_best_perm(pairwise_neg_sisdr(est, targets))[0].mean()


def measure_times(est: Tensor, targets: Tensor, n_rounds: int, budget_s: float) -> dict[str, Any]:
    """Seconds of each side, and how far their results differ.

    Args:
        est: estimates, [B, J, T].
        targets: targets, [B, J, T].
        n_rounds: rounds of one call of each side, at most.
        budget_s: no further round starts after this, once there are three.
    """
    calls = {side: _forward_backward(side, est, targets) for side in SIDES}
    seconds = take_turns(calls, n_rounds, budget_s, str(est.device), MIN_ROUNDS)
    results = {side: (calls[side]().item(), est.grad) for side in SIDES}
    (their_loss, theirs), (our_loss, ours) = (results[side] for side in SIDES)
    assert theirs is not None
    assert ours is not None
    return {
        **{f"{side}_s": statistics.median(seconds[side]) for side in SIDES},
        **{f"{side}_min_s": min(seconds[side]) for side in SIDES},
        "n_rounds": len(seconds["ours"]),
        "difference_db": abs(our_loss - their_loss),
        "gradient_difference": ((ours - theirs).norm() / theirs.norm()).item(),
    }


def _forward_backward(side: str, est: Tensor, targets: Tensor) -> Callable[[], Tensor]:
    def call() -> Tensor:
        est.grad = None
        loss = loss_of(side, est, targets)
        loss.backward()
        return loss

    return call


def prepare(side: str, n_items: int, n_src: int, n_samples: int, device: str) -> Callable[[], Tensor]:
    """A forward and backward pass of a side."""
    return _forward_backward(side, *batch(n_items, n_src, n_samples, device))


def measure(options: argparse.Namespace) -> Numbers:
    """A row for each number of sources."""
    return {"rows": [measure_row(options, n_src) for n_src in progress(options.n_src)]}


def measure_row(options: argparse.Namespace, n_src: int) -> Numbers:
    """Times and peak memory of both sides with ``n_src`` sources, and how they compare."""
    sizes = (options.batch_size, n_src, options.n_samples, options.device)
    warm = (options.batch_size, n_src, 64, options.device)
    peaks = {
        f"{side}_bytes": peak_bytes(
            f"{side} with --n-src {n_src}", prepare, (side, *sizes), (side, *warm), options.device, options.threads
        )
        for side in SIDES
    }
    row = {"n_src": n_src, **measure_times(*batch(*sizes), options.rounds, options.budget_s), **peaks}
    # The least time is what the code needs; a machine that is shared adds to it, never takes away.
    row["time_ratio"] = row["asteroid_min_s"] / row["ours_min_s"]
    row["memory_ratio"] = row["asteroid_bytes"] / max(1, row["ours_bytes"])
    return row


COLUMNS: dict[str, Callable[[Numbers], str]] = {
    "J": lambda r: str(r["n_src"]),
    "Asteroid\nms": lambda r: f"{1e3 * r['asteroid_min_s']:.2f}",
    "ours\nms": lambda r: f"{1e3 * r['ours_min_s']:.2f}",
    "\nfaster": lambda r: f"{r['time_ratio']:.1f}×",
    "Asteroid\nMiB": lambda r: f"{r['asteroid_bytes'] / 2**20:.1f}",
    "ours\nMiB": lambda r: f"{r['ours_bytes'] / 2**20:.1f}",
    "\nsmaller": lambda r: f"{r['memory_ratio']:.1f}×",
    "Δ\ndB": lambda r: f"{r['difference_db']:.0e}",
    "Δ\ngrad": lambda r: f"{r['gradient_difference']:.0e}",
}


def show(numbers: Numbers, options: argparse.Namespace) -> list[Any]:
    """The table."""
    title = (
        "exact PIT of negative SI-SDR, forward + backward, least of the rounds\n"
        f"B = {options.batch_size}, T = {options.n_samples}, {setting(options)}"
    )
    return [table(title, list(COLUMNS), [[cell(row) for cell in COLUMNS.values()] for row in numbers["rows"]])]


BENCH = Bench(
    name="pit",
    summary="time and peak memory of the exact PIT loss, forward and backward, beside Asteroid's",
    measure=measure,
    show=show,
    shared={
        "n_src": [2, 5, 10, 20], "batch_size": 8, "n_samples": 24_000, "threads": 1, "device": "cpu",
        "rounds": 100, "budget_s": 10.0
    },
)  # fmt: skip
