"""``asteroid-stab bench evaluate``: the metrics of separated speech beside Asteroid's ``get_metrics``."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from asteroid_stab.cli.arguments import positive
from asteroid_stab.errors import StabError
from bench.frame import Bench, Numbers, table
from bench.speech_samples import spoken_sources, synthetic_sources

if TYPE_CHECKING:
    from asteroid_stab.metrics.pool import Item

GROUPS = {
    "SI-SDR": ["si_sdr"],
    "SDR, SIR, SAR": ["sdr", "sir", "sar"],
    "STOI": ["stoi"],
    "PESQ": ["pesq"],
    "all": ["si_sdr", "sdr", "sir", "sar", "stoi", "pesq"],
}
N_GROUP_ITEMS = 6
LEAK, NOISE = 0.15, 0.02  # of the estimates: an SDR near 16 dB


def make_items(sources: list[np.ndarray]) -> list[Item]:
    """Mixtures with the estimates of a fair model: some leakage of the other sources, some noise, in random order."""
    from asteroid_stab.metrics.pool import Item

    items = []
    for i, clean in enumerate(sources):
        rng = np.random.default_rng((1, i))
        noise = NOISE * clean.std() * rng.standard_normal(clean.shape)
        estimates = clean + LEAK * np.roll(clean, 1, axis=0) * (len(clean) > 1) + noise
        items.append(Item(i, clean.sum(0), clean, estimates[rng.permutation(len(clean))]))
    return items


def asteroid_metrics(item: Item, sample_rate: int, metrics: list[str]) -> dict[str, float]:
    """Measures a mixture as Asteroid's evaluation loop does."""
    from asteroid.metrics import get_metrics

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mir_eval's deprecation, and the log of 0 where a mixture has no noise
        return get_metrics(
            item.mixture[None],
            item.sources,
            item.estimates,
            sample_rate=sample_rate,
            metrics_list=metrics,
            compute_permutation=True,
            ignore_metrics_errors=True,  # PESQ finds no utterance in some synthetic mixtures
        )


def timed(work: Callable[..., Any], *args: Any) -> tuple[float, float, Any]:
    """Wall-clock seconds, CPU seconds and the result of ``work(*args)``, measured in the process that runs it."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work(*args)
    return time.perf_counter() - wall, time.process_time() - cpu, result


def reference_process(threads: int) -> ProcessPoolExecutor:
    """Starts the one process of Asteroid's loop, whose libraries have ``threads`` threads."""
    from asteroid_stab.metrics.pool import start_processes

    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return start_processes(1, dict.fromkeys(names, str(threads)))


def measure_groups(items: list[Item], sample_rate: int) -> list[dict[str, Any]]:
    """CPU seconds per mixture of each group of metrics, in one process with one thread; the sides take turns."""
    from asteroid_stab.metrics.pool import WORKER_ENVIRONMENT, start_processes
    from asteroid_stab.metrics.separation_metrics import measure

    rows = []
    with reference_process(1) as asteroid, start_processes(1, WORKER_ENVIRONMENT) as ours:
        for label, metrics in GROUPS.items():
            times = np.array(
                [
                    (
                        asteroid.submit(timed, asteroid_metrics, item, sample_rate, metrics).result()[1],
                        ours.submit(timed, measure, *item[1:4], sample_rate, metrics).result()[1],
                    )
                    for item in [items[0], *items]  # the first one is not counted: it imports
                ]
            )[1:]
            rows.append({"metrics": label, "asteroid_s": times[:, 0].mean(), "ours_s": times[:, 1].mean()})
    return rows


def differences(theirs: list[dict[str, float]], ours: dict[int, Any]) -> dict[str, float]:
    """Largest difference of every metric; beyond ±100 dB both sides are rounding errors, and ours returns 100."""
    from asteroid_stab.metrics.bss_eval import MAX_DB

    largest: dict[str, float] = {}
    for i, reference in enumerate(theirs):
        for name, value in reference.items():
            if value is None or np.isnan(value):  # undefined for both
                continue
            gap = abs(float(np.clip(value, -MAX_DB, MAX_DB)) - ours[i].values[name])
            largest[name] = max(largest.get(name, 0.0), gap)
    return largest


def measure_all(items: list[Item], sample_rate: int, n_jobs: int, threads: int, n_rounds: int) -> dict[str, Any]:
    """Wall-clock seconds per mixture of all metrics: Asteroid's loop, then our processes, round by round."""
    from asteroid_stab.metrics.names import METRICS
    from asteroid_stab.metrics.pool import MetricPool

    asteroid_s, ours_s = [], []
    theirs: list[dict[str, float]] = []
    ours: dict[int, Any] = {}
    with reference_process(threads) as asteroid, MetricPool(sample_rate, list(METRICS), n_jobs) as pool:
        pool.wait_until_started()
        asteroid.submit(asteroid_metrics, items[0], sample_rate, list(METRICS)).result()  # its imports
        for _ in range(n_rounds):
            jobs = (asteroid.submit(timed, asteroid_metrics, item, sample_rate, list(METRICS)) for item in items)
            found = [job.result() for job in jobs]
            asteroid_s.append(float(np.mean([wall for wall, _, _ in found])))
            theirs = [result for _, _, result in found]
            start = time.perf_counter()
            ours = dict(pool.run(items))
            ours_s.append((time.perf_counter() - start) / len(items))
    return {
        # The least time is what the code needs; a machine that is shared adds to it, never takes away.
        "asteroid_s": min(asteroid_s),
        "ours_s": min(ours_s),
        "asteroid_rounds_s": asteroid_s,
        "ours_rounds_s": ours_s,
        "ratio": min(asteroid_s) / min(ours_s),
        "differences": differences(theirs, ours),
    }


def measure(options: argparse.Namespace) -> Numbers:
    """Times of all metrics and of each group, on the same mixtures."""
    from asteroid_stab.cores import available_cores

    n_jobs, threads = options.n_jobs or available_cores(), options.threads or available_cores()
    sizes = (options.n_mixtures, options.n_src, options.sample_rate)
    if options.librispeech is None:
        sources, speech = synthetic_sources(*sizes), "synthetic speech"
    else:
        sources, speech = spoken_sources(options.librispeech, *sizes), options.librispeech.name
    items = make_items(sources)
    length_s = float(np.mean([len(item.mixture) for item in items])) / options.sample_rate
    return {
        "title": f"{len(items)} mixtures of {options.n_src}, {length_s:.1f} s on average, {speech}, "
        f"{options.sample_rate} Hz",
        "n_jobs": n_jobs,
        "threads": threads,
        "mean_length_s": length_s,
        "all": measure_all(items, options.sample_rate, n_jobs, threads, options.rounds),
        "groups": measure_groups(items[:N_GROUP_ITEMS], options.sample_rate),
    }


def show(numbers: Numbers, options: argparse.Namespace) -> list[Any]:
    """The table of times, and a line of the differences."""
    rows = {f"{row['metrics']}, CPU": row for row in numbers["groups"]}
    rows[f"all, clock: {numbers['threads']} threads; ours {numbers['n_jobs']} processes"] = numbers["all"]
    cells = [
        [label, f"{1e3 * row['asteroid_s']:.1f}", f"{1e3 * row['ours_s']:.1f}",
         f"{row['asteroid_s'] / row['ours_s']:.1f}×"]
        for label, row in rows.items()
    ]  # fmt: skip
    caption = "CPU: one process, one thread; get_metrics searches the order again in every row"
    heads = ["ms a mixture", "Asteroid", "ours", "faster"]
    gaps = ", ".join(f"{name} {gap:.0e}" for name, gap in numbers["all"]["differences"].items())
    return [table(numbers["title"], heads, cells, n_left=1, caption=caption), f"largest differences: {gaps}"]


def check(options: argparse.Namespace) -> None:
    """Refuses more sources than Asteroid's search takes.

    Raises:
        StabError: ``--n-src`` is above 9.
    """
    if options.n_src > 9:
        raise StabError(f"--n-src must be at most 9, where Asteroid's get_metrics ends, got {options.n_src}")


BENCH = Bench(
    name="evaluate",
    summary="time per mixture of all metrics beside Asteroid's get_metrics, and how far they agree",
    measure=measure,
    show=show,
    shared={"n_src": 2, "sample_rate": 8000, "n_mixtures": 24, "librispeech": None, "rounds": 3},
    options={
        "--n-jobs": {"type": positive, "metavar": "N", "help": "our processes (one a core)"},
        "--threads": {
            "type": positive, "metavar": "N", "help": "Asteroid's threads (one a core, which is NumPy's default)"
        },
    },
    check=check,
    packages=("asteroid", "pb-bss-eval", "pystoi", "pesq"),
)  # fmt: skip
