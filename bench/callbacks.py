"""``asteroid-stab bench callbacks``: what the tracker, sample dropout and reweighting add to a training step."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from asteroid_stab.cli.arguments import positive
from asteroid_stab.errors import StabError
from bench.frame import Bench, Numbers
from bench.models import MODELS, SMALL, model_of

LAYERS = 2  # few: the fewer, the more the hooks weigh
PARTS = ("tracker", "dropout", "reweighting", "weighted mean")


def measure(options: argparse.Namespace) -> Numbers:
    """Medians of a step with the stabilizers off and on, and of the time spent inside each."""
    return measure_step(options.model, options.steps, options.items, options.n_src, options.batch_size, options.device)


def measure_step(model_name: str, n_steps: int, n_items: int, n_src: int, batch_size: int, device: str) -> Numbers:
    """The same for these sizes.

    Timing noise hides differences below 1% of a step, so each hook is timed by itself as well. The end of the
    tracker's epoch is spread over the steps of an epoch with ``n_items``.
    """
    import torch
    from asteroid.losses import pairwise_neg_sisdr

    from asteroid_stab.callbacks import AssignmentTracker
    from asteroid_stab.items import Items
    from asteroid_stab.losses import Assignment, ExactPITLossWrapper
    from asteroid_stab.losses.assignment import item_loss
    from asteroid_stab.losses.weighting import sum_logits, weighted_mean
    from asteroid_stab.stabilizers import Reweighting, SampleDropout
    from asteroid_stab.stabilizers.base import Clock, Step
    from asteroid_stab.stabilizers.comm import Comm

    torch.manual_seed(0)
    model = model_of(model_name, LAYERS, n_src).to(device)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad])
    loss_func = ExactPITLossWrapper(pairwise_neg_sisdr)
    sources = torch.randn(batch_size, n_src, 12_000, device=device)
    mixture = sources.sum(1)
    tracker, dropout, reweighting = AssignmentTracker(save=False), SampleDropout(epsilon_db=1.0), Reweighting(alpha=0.1)
    clock = Clock(epoch=0, step=0)
    for part in (tracker, dropout, reweighting):
        part.begin(Items(n_items))
        part.begin_epoch(clock)

    def wait() -> None:
        if device != "cpu":
            torch.cuda.synchronize(device)

    def timed(call: Callable[[], Any], spent: list[float]) -> Any:
        wait()
        start = time.perf_counter()
        result = call()
        wait()
        spent.append(time.perf_counter() - start)
        return result

    inside: dict[str, list[float]] = {name: [] for name in PARTS}

    def loss_with_callbacks(assigned: Assignment, est: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        # Without the known SI-SDR: dropout computes its metric again, as it must with layers or a soft assignment.
        known = Assignment(assigned.loss.detach(), assigned.perm)
        step = Step(sources, known, est.detach(), clock, mixture, ids)
        timed(lambda: tracker.observe(step), inside["tracker"])
        dropped = timed(lambda: dropout.logits(step), inside["dropout"])
        weighed = timed(lambda: reweighting.logits(step), inside["reweighting"])
        logits = timed(lambda: sum_logits([dropped, weighed]), [])
        return timed(lambda: weighted_mean(assigned.loss, logits), inside["weighted mean"]).value

    def train_step(on: bool, ids: torch.Tensor) -> None:
        est = model(mixture)
        assigned = loss_func.assign(est, sources)
        loss = loss_with_callbacks(assigned, est, ids) if on else weighted_mean(item_loss(assigned.loss), None).value
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    seconds: dict[bool, list[float]] = {False: [], True: []}
    for i in range(2 * n_steps + 4):
        ids = torch.randperm(n_items, device=device)[:batch_size]
        timed(partial(train_step, i % 2 == 1, ids), seconds[i % 2 == 1])
    tracker.end_epoch(Comm())  # the first epoch has nothing to compare with
    tracker.begin_epoch(Clock(epoch=1, step=0))
    train_step(True, torch.arange(batch_size, device=device))
    ends: list[float] = []
    timed(lambda: tracker.end_epoch(Comm()), ends)
    off, on = (statistics.median(seconds[key][2:]) for key in (False, True))  # the first steps allocate
    spent = {name: statistics.median(values[2:]) for name, values in inside.items()}
    spent["tracker"] += ends[0] / max(1, n_items // batch_size)
    return {
        "on_ms": 1e3 * on,
        "off_ms": 1e3 * off,
        "epoch_end_ms": 1e3 * ends[0],
        "parts": {name: {"ms": 1e3 * value, "share": value / off} for name, value in spent.items()},
    }


def show(numbers: Numbers, options: argparse.Namespace) -> list[str]:
    """A line for the step, one for each part, and one for the end of an epoch."""
    off, on = numbers["off_ms"], numbers["on_ms"]
    parts = numbers["parts"].items()
    medians = f"(medians of {options.steps}, in turn)"
    return [
        f"step of {options.model} with all off {off:.2f} ms, on {on:.2f} ms {medians}: {on / off - 1:+.2%}",
        *(f"{name:<13} {part['ms']:.4f} ms a step, {part['share']:.3%} of a step" for name, part in parts),
        f"(the tracker's with the end of an epoch: {numbers['epoch_end_ms']:.1f} ms for {options.items} items)",
    ]


def check(options: argparse.Namespace) -> None:
    """Refuses a batch with more items than the training set has.

    Raises:
        StabError: ``--batch-size`` is above ``--items``.
    """
    if options.batch_size > options.items:
        raise StabError(f"--batch-size must be at most --items, {options.items}, got {options.batch_size}")


BENCH = Bench(
    name="callbacks",
    summary="the tracker's, sample dropout's and reweighting's share of a training step, on against off",
    measure=measure,
    show=show,
    shared={"n_src": 2, "batch_size": 8, "threads": 1, "device": "cpu"},
    options={
        "--model": {"choices": (SMALL, *MODELS), "default": SMALL, "help": f"model ({SMALL})"},
        "--steps": {"type": positive, "default": 60, "metavar": "N", "help": "steps of each kind (60)"},
        "--items": {"type": positive, "default": 20_000, "metavar": "N", "help": "items of the training set (20000)"},
    },
    check=check,
)
