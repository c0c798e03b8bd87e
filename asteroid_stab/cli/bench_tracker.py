"""``asteroid-stab bench tracker``: what the tracker adds to a training step."""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

from asteroid_stab.cli.arguments import positive
from asteroid_stab.cli.bench_options import add_device, add_json, check, pinned_threads, write

SUMMARY = "the tracker's share of a training step, on against off"


def main(argv: list[str]) -> int:
    """Trains steps with the tracker on and off in turn and prints the tracker's share."""
    parser = argparse.ArgumentParser(prog="asteroid-stab bench tracker", description=SUMMARY)
    parser.add_argument("--steps", type=positive, default=60, help="steps of each kind (default 60)")
    parser.add_argument("--items", type=positive, default=20_000, help="items of the training set (default 20000)")
    parser.add_argument("--n-src", type=positive, default=2, help="sources (default 2)")
    add_device(parser)
    add_json(parser)
    options = parser.parse_args(argv)
    check(options)
    with pinned_threads(options.threads):
        figures = measure(options.steps, options.items, options.n_src, options.device)
    write(options, figures, ("torch", "asteroid"))
    print(
        f"step without tracker {figures['off_ms']:.2f} ms, with {figures['on_ms']:.2f} ms (medians of "
        f"{options.steps}, in turn): {figures['on_ms'] / figures['off_ms'] - 1:+.2%}\n"
        f"time inside the tracker: {figures['inside_ms']:.4f} ms a step, {figures['share']:.3%} of a step "
        f"(the end of an epoch included, {figures['epoch_end_ms']:.1f} ms for {options.items} items)"
    )
    return 0


def measure(n_steps: int, n_items: int, n_src: int, device: str) -> dict[str, Any]:
    """Medians of a step with and without the tracker, and the time that passes inside its hooks.

    The difference of two noisy steps says little about less than a hundredth of them, so the hooks are timed on their
    own as well; the end of an epoch is spread over the steps that an epoch of ``n_items`` has.
    """
    import torch
    from asteroid.losses import pairwise_neg_sisdr

    from asteroid_stab.engine.step import Step
    from asteroid_stab.engine.tracker import AssignmentTracker, count_switches
    from asteroid_stab.losses import Assignment, ExactPITLossWrapper
    from asteroid_stab.models import conv_tasnet

    batch_size = 8
    torch.manual_seed(0)
    model = conv_tasnet(
        n_src, n_filters=128, kernel_size=32, stride=16, n_blocks=6, n_repeats=2, bn_chan=64, hid_chan=128,
        skip_chan=64, mask_act="relu",
    ).to(device)  # fmt: skip
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad])
    loss_func = ExactPITLossWrapper(pairwise_neg_sisdr)
    sources = torch.randn(batch_size, n_src, 12_000, device=device)
    mixture = sources.sum(1)
    tracker = AssignmentTracker(save=False)
    tracker._n_items = n_items

    def synchronise() -> None:
        if device != "cpu":
            torch.cuda.synchronize(device)

    times: dict[str, list[float]] = {"on": [], "off": [], "inside": []}
    for i in range(2 * n_steps + 4):
        kind = "on" if i % 2 else "off"
        ids = torch.randint(n_items, (batch_size,), device=device)
        synchronise()
        start = time.perf_counter()
        assignment = loss_func.assign(model(mixture), sources)
        inside = 0.0
        if kind == "on":
            step = Step(mixture, sources, ids, Assignment(assignment.loss.detach(), assignment.perm), sources)
            hook = time.perf_counter()
            tracker.on_assignment(None, None, step)  # type: ignore[arg-type]
            inside = time.perf_counter() - hook
        optimizer.zero_grad()
        assignment.loss.mean().backward()
        optimizer.step()
        synchronise()
        if i >= 4:  # the first steps allocate
            times[kind].append(time.perf_counter() - start)
            if kind == "on":
                times["inside"].append(inside)
    assert tracker._current is not None
    table = tracker._current.cpu()
    hook = time.perf_counter()
    count_switches(table, table.roll(1, 1))
    epoch_end = time.perf_counter() - hook
    medians = {kind: statistics.median(values) for kind, values in times.items()}
    inside = medians["inside"] + epoch_end / max(1, n_items // batch_size)
    return {
        "on_ms": 1e3 * medians["on"],
        "off_ms": 1e3 * medians["off"],
        "inside_ms": 1e3 * inside,
        "epoch_end_ms": 1e3 * epoch_end,
        "share": inside / medians["off"],
    }
