"""``asteroid-stab bench callbacks``: what the tracker, sample dropout and reweighting add to a training step."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from asteroid_stab.cli.arguments import positive
from asteroid_stab.errors import StabError
from bench.options import add_device, add_json, check, pinned_threads, write

SUMMARY = "the tracker's, sample dropout's and reweighting's share of a training step, on against off"
PARTS = ("tracker", "dropout", "reweighting", "weighted mean")


def main(argv: list[str]) -> int:
    """Trains steps with the callbacks on and off in turn and prints the share of each."""
    parser = argparse.ArgumentParser(prog="asteroid-stab bench callbacks", description=SUMMARY)
    parser.add_argument("--steps", type=positive, default=60, help="steps of each kind (%(default)s)")
    parser.add_argument("--items", type=positive, default=20_000, help="items of the training set (%(default)s)")
    parser.add_argument("--n-src", type=positive, default=2, help="sources (%(default)s)")
    parser.add_argument("--batch-size", type=positive, default=8, help="items of a batch (%(default)s)")
    add_device(parser)
    add_json(parser)
    options = parser.parse_args(argv)
    check(options)
    if options.batch_size > options.items:
        raise StabError(f"--batch-size must be at most --items, {options.items}, got {options.batch_size}")
    with pinned_threads(options.threads):
        figures = measure(options.steps, options.items, options.n_src, options.batch_size, options.device)
    write(options, figures, ("torch", "asteroid"))
    print(
        f"step with all off {figures['off_ms']:.2f} ms, on {figures['on_ms']:.2f} ms (medians of {options.steps}, in "
        f"turn): {figures['on_ms'] / figures['off_ms'] - 1:+.2%}"
    )
    for name in PARTS:
        part = figures["parts"][name]
        print(f"{name:<13} {part['ms']:.4f} ms a step, {part['share']:.3%} of a step")
    print(f"(the tracker's with the end of an epoch: {figures['epoch_end_ms']:.1f} ms for {options.items} items)")
    return 0


def measure(n_steps: int, n_items: int, n_src: int, batch_size: int, device: str) -> dict[str, Any]:
    """Medians of a step with the callbacks off and on, and the time that passes inside each.

    The difference of two noisy steps says little about less than a hundredth of them, so the hooks are timed on their
    own as well; the end of the tracker's epoch is spread over the steps that an epoch of ``n_items`` has.
    """
    import torch
    from asteroid.losses import pairwise_neg_sisdr

    from asteroid_stab.callbacks import AssignmentTracker
    from asteroid_stab.callbacks.tracker import count_switches
    from asteroid_stab.losses import Assignment, ExactPITLossWrapper
    from asteroid_stab.losses.assignment import item_loss
    from asteroid_stab.losses.weighting import sum_logits, weighted_mean
    from asteroid_stab.models import conv_tasnet
    from asteroid_stab.stabilizers import Reweighting, SampleDropout
    from asteroid_stab.stabilizers.base import Step

    torch.manual_seed(0)
    model = conv_tasnet(
        n_src, n_filters=128, kernel_size=32, stride=16, n_blocks=6, n_repeats=2, bn_chan=64, hid_chan=128,
        skip_chan=64, mask_act="relu",
    ).to(device)  # fmt: skip
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad])
    loss_func = ExactPITLossWrapper(pairwise_neg_sisdr)
    sources = torch.randn(batch_size, n_src, 12_000, device=device)
    mixture = sources.sum(1)
    tracker, dropout, reweighting = AssignmentTracker(save=False), SampleDropout(epsilon_db=1.0), Reweighting(alpha=0.1)
    tracker._n_items = dropout._n_items = n_items
    trainer: Any = SimpleNamespace(current_epoch=0, global_step=0)

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
        # Without the known loss: dropout then computes its metric anew, as it must with layers or a soft assignment.
        step = Step(mixture, sources, ids, Assignment(assigned.loss.detach(), assigned.perm), est.detach())
        timed(lambda: tracker.on_assignment(trainer, None, step), inside["tracker"])
        dropped = timed(lambda: dropout.logits(trainer, None, step), inside["dropout"])
        weighed = timed(lambda: reweighting.logits(trainer, None, step), inside["reweighting"])
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
    assert tracker._current is not None
    table = tracker._current.cpu()
    ends: list[float] = []
    timed(lambda: count_switches(table, table.roll(1, 1)), ends)
    off, on = (statistics.median(seconds[key][2:]) for key in (False, True))  # the first steps allocate
    spent = {name: statistics.median(values[2:]) for name, values in inside.items()}
    spent["tracker"] += ends[0] / max(1, n_items // batch_size)
    return {
        "on_ms": 1e3 * on,
        "off_ms": 1e3 * off,
        "epoch_end_ms": 1e3 * ends[0],
        "parts": {name: {"ms": 1e3 * value, "share": value / off} for name, value in spent.items()},
    }
