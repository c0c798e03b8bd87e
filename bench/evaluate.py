"""``asteroid-stab bench evaluate``: the metrics of separated speech beside Asteroid's ``get_metrics``."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asteroid_stab.cli.arguments import positive
from asteroid_stab.errors import StabError
from bench.options import add_json, check, write
from bench.speech_samples import spoken_sources, synthetic_sources

if TYPE_CHECKING:
    from asteroid_stab.metrics.pool import Item

SUMMARY = "time per mixture of all metrics beside Asteroid's get_metrics, and how far they agree"
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
    """Mixtures with estimates as a fair model gives them: some of the others' speech, some noise, any order."""
    from asteroid_stab.metrics.pool import Item

    items = []
    for i, clean in enumerate(sources):
        rng = np.random.default_rng((1, i))
        noise = NOISE * clean.std() * rng.standard_normal(clean.shape)
        estimates = clean + LEAK * np.roll(clean, 1, axis=0) * (len(clean) > 1) + noise
        items.append(Item(i, clean.sum(0), clean, estimates[rng.permutation(len(clean))]))
    return items


def asteroid_metrics(item: Item, sample_rate: int, metrics: list[str]) -> dict[str, float]:
    """What Asteroid's evaluation loop does with a mixture."""
    from asteroid.metrics import get_metrics

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mir_eval's announcement, and the log of 0 where a mixture has no noise
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
    """Seconds on the clock, seconds of CPU, and the result of ``work(*args)``, measured where it runs."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work(*args)
    return time.perf_counter() - wall, time.process_time() - cpu, result


def reference_process(threads: int) -> ProcessPoolExecutor:
    """The one process of Asteroid's loop, its libraries with ``threads`` threads."""
    from asteroid_stab.metrics.pool import start_processes

    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return start_processes(1, dict.fromkeys(names, str(threads)))


def measure_groups(items: list[Item], sample_rate: int) -> list[dict[str, Any]]:
    """Seconds of CPU a mixture that each group of metrics takes in one process of one thread, in turns."""
    from asteroid_stab.metrics.pool import WORKER_ENVIRONMENT, start_processes
    from asteroid_stab.metrics.separation_metrics import measure

    rows = []
    with reference_process(1) as asteroid, start_processes(1, WORKER_ENVIRONMENT) as ours:
        for label, metrics in GROUPS.items():
            times = np.array(
                [
                    (
                        asteroid.submit(timed, asteroid_metrics, item, sample_rate, metrics).result()[1],
                        ours.submit(timed, measure, *item[1:], sample_rate, metrics).result()[1],
                    )
                    for item in [items[0], *items]  # once more than counts, for what is imported late
                ]
            )[1:]
            rows.append({"metrics": label, "asteroid_s": times[:, 0].mean(), "ours_s": times[:, 1].mean()})
    return rows


def differences(theirs: list[dict[str, float]], ours: dict[int, Any]) -> dict[str, float]:
    """Largest difference of every metric; beyond ±100 dB both sides are rounding, and ours says 100."""
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
    """Seconds a mixture on the clock of all metrics: Asteroid's loop, then our processes, round by round."""
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


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    caption = "CPU: one process, one thread; get_metrics searches the order in every row anew"
    table = Table("ms a mixture", "Asteroid", "ours", "faster", title=result["title"], caption=caption)
    for column in table.columns[1:]:
        column.justify = "right"
    rows = [(f"{row['metrics']}, CPU", row) for row in result["groups"]]
    n_jobs, threads = result["n_jobs"], result["threads"]
    rows.append((f"all, on the clock: 1 process of {threads} threads, ours {n_jobs} of 1", result["all"]))
    for label, row in rows:
        if row is result["all"]:
            table.add_section()
        ratio = row["asteroid_s"] / row["ours_s"]
        table.add_row(label, f"{1e3 * row['asteroid_s']:.1f}", f"{1e3 * row['ours_s']:.1f}", f"{ratio:.1f}×")
    console.print(table)
    gaps = ", ".join(f"{name} {gap:.0e}" for name, gap in result["all"]["differences"].items())
    console.print(f"largest differences: {gaps}", highlight=False)


def main(argv: list[str]) -> int:
    """Measures, prints a table, and writes the numbers to a file where one is asked for."""
    parser = argparse.ArgumentParser(prog="asteroid-stab bench evaluate", description=SUMMARY)
    parser.add_argument("--librispeech", type=Path, metavar="DIR", help="speech to mix (synthetic without)")
    parser.add_argument("--n-src", type=positive, default=2, help="sources, below 10 (%(default)s)")
    parser.add_argument("--sample-rate", type=int, choices=(8000, 16000), default=8000, help="Hz (%(default)s)")
    parser.add_argument("--n-mixtures", type=positive, default=24, help="mixtures (%(default)s)")
    parser.add_argument("--rounds", type=positive, default=3, help="rounds of both sides (%(default)s)")
    parser.add_argument("--n-jobs", type=positive, help="our processes (one a core)")
    parser.add_argument("--threads", type=positive, help="Asteroid's threads (one a core, as NumPy takes them)")
    add_json(parser)
    options = parser.parse_args(argv)
    if options.n_src > 9:
        raise StabError(f"--n-src must be at most 9, where Asteroid's get_metrics ends, got {options.n_src}")
    if options.librispeech is not None and not options.librispeech.is_dir():
        raise StabError(f"--librispeech must be a folder, got {options.librispeech}")
    check(options)

    from asteroid_stab.metrics.pool import available_cores

    n_jobs = options.n_jobs or available_cores()
    sizes = (options.n_mixtures, options.n_src, options.sample_rate)
    if options.librispeech is None:
        sources, speech = synthetic_sources(*sizes), "synthetic speech"
    else:
        sources, speech = spoken_sources(options.librispeech, *sizes), options.librispeech.name
    items = make_items(sources)
    length_s = float(np.mean([len(item.mixture) for item in items])) / options.sample_rate
    threads = options.threads or available_cores()
    result: dict[str, Any] = {
        "title": f"{len(items)} mixtures of {options.n_src}, {length_s:.1f} s on average, {speech}, "
        f"{options.sample_rate} Hz",
        "n_jobs": n_jobs,
        "threads": threads,
        "n_src": options.n_src,
        "sample_rate": options.sample_rate,
        "mean_length_s": length_s,
        "all": measure_all(items, options.sample_rate, n_jobs, threads, options.rounds),
        "groups": measure_groups(items[:N_GROUP_ITEMS], options.sample_rate),
    }
    _show(result)
    write(options, result, ("asteroid", "pb-bss-eval", "pystoi", "pesq"))
    return 0
