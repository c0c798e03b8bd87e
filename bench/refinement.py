"""``asteroid-stab bench refinement``: time saved by early exits, memory saved by training block by block."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from asteroid_stab.cli.arguments import positive
from asteroid_stab.errors import StabError
from bench.frame import Bench, Numbers, progress, setting, table
from bench.measure import Call, least_times, peak_bytes

PARTS = ("exit", "memory")
SAMPLE_RATE = 8000
N_SRC = 2  # and the noise


class Layout(NamedTuple):
    """Blocks, sub-blocks in each, iterations of each; their product is the number of applications of sub-blocks."""

    n_blocks: int
    n_sub_blocks: int
    n_iterations: int


END_TO_END = Layout(1, 16, 1)
STAGED = tuple(Layout(n, 16 // n // i, i) for n in (2, 4) for i in (1, 2, 4))
"""Layouts with 16 applications, Bralios et al., table 2."""


# --- time ---


def exits(mean: int, n_iterations: int, n_items: int) -> list[int]:
    """Iterations of each item: their mean value is ``mean``, and they differ where they can.

    Example:
        >>> exits(2, 4, 5), exits(4, 4, 3), exits(1, 4, 1)
        ([1, 3, 1, 3, 2], [4, 4, 4], [1])
    """
    apart = min(1, mean, n_iterations - mean)
    pairs = [mean - apart, mean + apart] * (n_items // 2)
    return pairs + [mean] * (n_items % 2)


def exit_calls(n_iterations: int, n_items: int, segment_s: float, device: str) -> dict[str, Call]:
    """Calls of the separation module: ``dense``, and by the mean number of iterations ``1``, ``2`` and so on.

    ``dense`` computes all iterations, without a gate. The other calls compute the gate before every iteration, as any
    evaluation does; only its answer is forced.
    """
    import torch

    from asteroid_stab.models import LatentRefinementNet

    class Forced(torch.nn.Module):
        """A gate that is computed; its answer is replaced."""

        def __init__(self, gate: torch.nn.Module):
            super().__init__()
            self.gate, self.left = gate, torch.empty(0, device=device)

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            stays = self.left > 0
            self.left = self.left[stays] - 1
            return self.gate(hidden).fill_(0) + stays

    torch.manual_seed(0)
    model = LatentRefinementNet(
        N_SRC, n_iterations=n_iterations, gate=True, gate_segment_s=segment_s, noise_slot=True
    ).to(device)
    masker = model.eval().masker
    with torch.no_grad():
        tf_rep = model.forward_encoder(torch.randn(n_items, 1, round(segment_s * SAMPLE_RATE), device=device))
    gates = torch.nn.ModuleList([Forced(masker.gates[0])]).eval()

    def call(counts: Sequence[int]) -> torch.Tensor:
        masker.gates = gates if counts else torch.nn.ModuleList()
        gates[0].left = torch.tensor(counts, device=device)
        with torch.inference_mode():
            return masker.refine(masker.start(tf_rep), 0, n_iterations)[1]

    means = {str(k): partial(call, exits(k, n_iterations, n_items)) for k in range(1, n_iterations + 1)}
    return {"dense": partial(call, ()), **means}


def measure_exit(options: argparse.Namespace, n_items: int) -> list[dict[str, Any]]:
    """A row for each mean number of iterations: least seconds, and the share of dense computation.

    One thread of a CPU is measured in CPU time, which leaves out other processes.
    """
    alone = options.device == "cpu" and options.threads == 1
    clock = time.process_time if alone else time.perf_counter
    calls = exit_calls(options.iterations, n_items, options.segment_s, options.device)
    least_s = least_times(calls, options.rounds, options.budget_s, options.device, clock)
    dense = least_s.pop("dense")
    return [
        {"batch_size": n_items, "mean": int(k), "least_s": value, "dense_s": dense, "share": value / dense}
        for k, value in least_s.items()
    ]


# --- memory ---


def prepare(layout: Layout, stage: int, n_items: int, n_samples: int, device: str) -> Callable[[], None]:
    """A training step of a stage, 0 for the whole model at once: forward, backward, Adam."""
    import torch
    from asteroid.losses import pairwise_neg_sisdr

    from asteroid_stab.losses import ExactPITLossWrapper

    torch.manual_seed(0)
    model = model_of(layout, device)
    if stage:
        model.train_stage(stage)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad])
    loss_func = ExactPITLossWrapper(pairwise_neg_sisdr)
    sources = torch.randn(n_items, N_SRC, n_samples, device=device)
    mixture = sources.sum(1)

    def call() -> None:
        optimizer.zero_grad()
        loss_func(model(mixture)[:, :N_SRC], sources).backward()
        optimizer.step()

    return call


def model_of(layout: Layout, device: str = "cpu") -> Any:
    """The network of a layout, of the paper's size."""
    from asteroid_stab.models import LatentRefinementNet

    n_blocks, n_sub_blocks, n_iterations = layout
    own_heads = n_blocks > 1
    return LatentRefinementNet(N_SRC, n_blocks, n_sub_blocks, n_iterations, own_heads=own_heads, noise_slot=True).to(
        device
    )


def stage_bytes(layout: Layout, options: argparse.Namespace) -> list[int]:
    """Peak bytes of a training step of every stage, the model's parameters included."""
    n_samples = round(options.segment_s * SAMPLE_RATE)
    weights = sum(p.numel() * p.element_size() for p in model_of(layout).parameters())
    peaks = []
    for stage in range(1, layout.n_blocks + 1) if layout.n_blocks > 1 else [0]:
        args = (layout, stage, options.batch_size, n_samples, options.device)
        warm = (Layout(1, 1, 1), 0, 1, 1000, options.device)
        name = f"{'x'.join(map(str, layout))}, stage {stage}"
        peaks.append(weights + peak_bytes(name, prepare, args, warm, options.device, options.threads))
    return peaks


def measure_memory(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each layout: peak bytes of its stages, and the largest's share of training end to end."""
    [whole] = stage_bytes(END_TO_END, options)
    rows = [{**END_TO_END._asdict(), "stage_bytes": [whole], "share": 1.0}]
    for layout in progress(STAGED):
        peaks = stage_bytes(layout, options)
        rows.append({**layout._asdict(), "stage_bytes": peaks, "share": max(peaks) / whole})
    return rows


# --- the command ---


def measure(options: argparse.Namespace) -> Numbers:
    """The rows of each part that is asked for."""
    numbers: Numbers = {}
    if "exit" in options.parts:
        numbers["exit"] = [row for n_items in options.exit_batch_sizes for row in measure_exit(options, n_items)]
    if "memory" in options.parts:
        numbers["memory"] = measure_memory(options)
    return numbers


def show(numbers: Numbers, options: argparse.Namespace) -> Iterator[Any]:
    """A table for each part."""
    where = f"{options.segment_s:g} s at 8 kHz, {setting(options)}"
    if "exit" in numbers:
        yield table(
            f"early exit from {options.iterations} iterations: separation module\n{where}",
            ["items", "mean\niterations", "dense\nms, least", "\nms, least", "\nof dense"],
            [
                [str(row["batch_size"]), str(row["mean"]), f"{1e3 * row['dense_s']:.1f}", f"{1e3 * row['least_s']:.1f}",
                 f"{row['share']:.2f}"]
                for row in numbers["exit"]
            ],
        )  # fmt: skip
    if "memory" in numbers:
        yield table(
            f"training step: forward, backward, Adam; with the weights\nB = {options.batch_size}, {where}",
            ["blocks", "sub-blocks", "iterations", "MiB of each stage", "largest of\nend to end"],
            [
                [*(str(row[name]) for name in Layout._fields), " ".join(f"{n / 2**20:.0f}" for n in row["stage_bytes"]),
                 f"{row['share']:.2f}"]
                for row in numbers["memory"]
            ],
        )  # fmt: skip


def check(options: argparse.Namespace) -> None:
    """Refuses a segment without a sample.

    Raises:
        StabError: ``--segment-s`` is shorter than one.
    """
    if options.segment_s * SAMPLE_RATE < 1:
        raise StabError(f"--segment-s must be at least a sample, {1 / SAMPLE_RATE:g} s, got {options.segment_s:g}")


BENCH = Bench(
    name="refinement",
    summary="time saved by early exits, memory saved by training block by block",
    measure=measure,
    show=show,
    shared={"batch_size": 2, "segment_s": 4.0, "threads": 1, "device": "cpu", "rounds": 10, "budget_s": 30.0},
    options={
        "--parts": {"choices": PARTS, "nargs": "+", "default": PARTS, "help": "parts of the benchmark (all)"},
        "--iterations": {"type": positive, "default": 4, "metavar": "I", "help": "of the network with a gate (4)"},
        "--exit-batch-sizes": {
            "type": positive, "nargs": "+", "default": [1, 8], "metavar": "B", "help": "items (1 and 8)"
        },
    },
    check=check,
)  # fmt: skip
