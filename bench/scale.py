"""``asteroid-stab bench scale``: what a training remembers of its items, at up to ten million of them, without audio.

One process holds, for an item of J sources, these bytes: its name (the text, and 4 for its place), length (4), place in
the epoch's order (4), row in the bank of sample dropout (6 + J a layer), assignments of two epochs (2 J a layer) and,
for fixed labels, J. A step reads and writes the rows of its batch.

How it would go to a billion: an item's row belongs to the process ``id % n_ranks``, at place ``id // n_ranks``. A step
sends its ids to their owners and gets best metrics and assignments back (two ``all_to_all`` of B rows). The end of an
epoch merges nothing, since a row has one owner, and each process writes and loads its own part of the tables, which
another number of processes deals out by id. With 64 processes that is 16 million rows each, as are measured here.
Names would stay on disk, mapped into memory by each machine. The order of an epoch would be a keyed Feistel network,
which gives the item at any place without a table of all.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from asteroid_stab.cli.arguments import positive
from asteroid_stab.errors import StabError
from bench.frame import Bench, Numbers, table

_N_SAMPLES = 64  # of a signal: a step's time is of what is remembered, not of the loss


def measure(options: argparse.Namespace) -> Numbers:
    """Start-up, memory, step and end of an epoch for each number of items, each in a process of its own."""
    return {"sizes": [measure_size(n, options.n_src, options.batch_size, options.steps) for n in options.items]}


def measure_size(n_items: int, n_src: int, batch_size: int, n_steps: int) -> Numbers:
    """The figures of one number of items.

    Raises:
        StabError: the process was killed, as happens when memory runs out.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_measure_here, n_items, n_src, batch_size, n_steps).result()
        except BrokenProcessPool as error:
            reason = "was killed, probably because memory ran out"
            raise StabError(f"the measurement of {n_items} items {reason}") from error


def _peak() -> int:
    """The most memory that this process has had, in bytes.

    Raises:
        StabError: the system does not count it.
    """
    try:
        import resource
    except ImportError as error:
        raise StabError(
            "bench scale needs the memory that a process has had, and Windows has no module for it"
        ) from error
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # type: ignore[attr-defined]


def _measure_here(n_items: int, n_src: int, batch_size: int, n_steps: int) -> Numbers:
    import torch
    from asteroid.losses import pairwise_neg_sisdr

    from asteroid_stab.callbacks import AssignmentTracker
    from asteroid_stab.data import MixtureDataset
    from asteroid_stab.items import Items
    from asteroid_stab.losses import ExactPITLossWrapper, FixedPITLossWrapper
    from asteroid_stab.stabilizers import SampleDropout, Stabilization

    class Named(MixtureDataset):
        """Items with names and lengths, and without audio."""

        def read(self, row: int, start: int, stop: int) -> Any:
            raise NotImplementedError("the items of this benchmark have no audio")

    torch.set_num_threads(1)
    numbers: Numbers = {"n_items": n_items, "imports_bytes": _peak()}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = call()
        numbers[name] = time.perf_counter() - start
        return result

    with tempfile.TemporaryDirectory() as folder:
        trainer: Any = SimpleNamespace(is_global_zero=True, default_root_dir=folder, current_epoch=0)
        tracker, dropout = AssignmentTracker(), SampleDropout(epsilon_db=1.0)

        def start_up() -> tuple[Any, Any, Iterator[Any]]:
            names = (f"train-{i:08d}_{i % 251}-{i % 9973}" for i in range(n_items))
            data = Named(names, itertools.repeat(24_000, n_items), n_src, 8000, 3.0)
            stab = Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr), [tracker, dropout], Items.of(data))
            stab.begin_epoch(0)
            tracker.on_train_epoch_start(trainer, None)  # type: ignore[arg-type]
            keys = iter(data.sampler(batch_size, seed=0))
            _step(stab, keys, batch_size, n_src)
            return data, stab, keys

        data, stab, keys = timed("start_up_s", start_up)
        steps: list[float] = []
        for _ in range(n_steps):
            start = time.perf_counter()
            _step(stab, keys, batch_size, n_src)
            steps.append(time.perf_counter() - start)
        numbers["step_s"] = sorted(steps)[n_steps // 2]
        numbers["fetch_s"] = _whole_order(data, batch_size) / n_items

        def end_epoch(epoch: int) -> None:
            trainer.current_epoch = epoch
            stab.end_epoch()
            tracker.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
            torch.save({"stab": stab.state_dict(), "fingerprint": data.fingerprint}, Path(folder, "last.ckpt"))

        end_epoch(0)
        stab.begin_epoch(1)
        _step(stab, iter(data.sampler(batch_size, seed=0)), batch_size, n_src)
        timed("end_epoch_s", lambda: end_epoch(1))  # this one is compared with an epoch before
        timed("labels_s", lambda: FixedPITLossWrapper(pairwise_neg_sisdr, folder).bind(Items.of(data)))
        state = torch.load(Path(folder, "last.ckpt"), weights_only=True)["stab"]
        again = Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr), [AssignmentTracker(), SampleDropout(1.0)])
        again.load_state_dict(state)
        timed("resume_s", lambda: again.begin(Items.of(data)))
    numbers["peak_bytes"] = _peak()
    numbers["bytes_per_item"] = (numbers["peak_bytes"] - numbers["imports_bytes"]) / n_items
    return numbers


def _step(stab: Any, keys: Iterator[Any], batch_size: int, n_src: int) -> None:
    """Takes the next batch's ids from the sampler, and a training step with signals of noise."""
    import torch

    ids = torch.tensor([item for _, item in itertools.islice(keys, batch_size)])
    sources = torch.randn(batch_size, n_src, _N_SAMPLES)
    est = torch.randn(batch_size, n_src, _N_SAMPLES, requires_grad=True)
    stab(est, sources, mixture=sources.sum(1), ids=ids).backward()


def _whole_order(data: Any, batch_size: int) -> float:
    """Seconds for the ids of a whole epoch."""
    start = time.perf_counter()
    for _ in data.sampler(batch_size, seed=1):
        pass
    return time.perf_counter() - start


def show(numbers: Numbers, options: argparse.Namespace) -> list[Any]:
    """The table."""
    heads = ["items", "start s", "GB", "bytes/item", "step ms", "epoch end s", "labels s", "resume s"]
    cells = [
        [
            f"{size['n_items']:,}",
            f"{size['start_up_s']:.2f}",
            f"{size['peak_bytes'] / 1e9:.2f}",
            f"{size['bytes_per_item']:.0f}",
            f"{1e3 * size['step_s']:.2f}",
            *(f"{size[name]:.2f}" for name in ("end_epoch_s", "labels_s", "resume_s")),
        ]
        for size in numbers["sizes"]
    ]
    title = (
        f"tracker and sample dropout, {options.n_src} sources, batches of {options.batch_size}, no audio;\n"
        "memory is the peak of the whole process"
    )
    return [table(title, heads, cells)]


def check(options: argparse.Namespace) -> None:
    """Refuses numbers of items below a batch.

    Raises:
        StabError: one is.
    """
    if min(options.items) < options.batch_size:
        raise StabError(f"--items must be at least --batch-size, {options.batch_size}, got {min(options.items)}")


BENCH = Bench(
    name="scale",
    summary="start-up, memory, step and end of an epoch of what is remembered of 10^5 to 10^7 items",
    measure=measure,
    show=show,
    shared={"n_src": 2, "batch_size": 8},
    options={
        "--items": {
            "type": positive, "nargs": "+", "default": [100_000, 1_000_000, 10_000_000], "metavar": "N",
            "help": "items of the training set (100000 1000000 10000000)",
        },
        "--steps": {"type": positive, "default": 200, "metavar": "N", "help": "steps; the median is given (200)"},
    },
    check=check,
)  # fmt: skip
