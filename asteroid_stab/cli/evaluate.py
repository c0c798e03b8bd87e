"""``asteroid-stab evaluate RUN``: separation metrics of a run's model on whole mixtures."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

from asteroid_stab.cli.arguments import add_max_iterations, check_data_overrides, limit_iterations, positive
from asteroid_stab.cli.evaluation_table import show
from asteroid_stab.errors import StabError

SUMMARY = "measures a run's model on whole mixtures"
METRICS = ("si_sdr", "sdr", "sir", "sar", "stoi", "pesq")  # as in metrics.separation_metrics, whose imports take long


def main(argv: list[str]) -> int:
    """Evaluates a run and prints its table; an evaluation that was made already is shown again.

    Raises:
        StabError: the run, its data or the device cannot be used, or another evaluation stands where this one
            would be written.
    """
    options = _parser().parse_intermixed_args(argv)  # overrides may follow an option
    metrics = tuple(dict.fromkeys(["si_sdr", *(options.metrics or METRICS)]))
    check_data_overrides(options.overrides)

    from asteroid_stab.run.folder import RunFolder

    run = RunFolder(options.run)
    model_path = run.model(options.stage)
    if run.config.get("pretext"):
        print("note: this run's pretext task does not train the model to separate or enhance what is measured here")
    folder = run.evaluation(options.split, options.stage, options.max_iterations)
    digest = hashlib.sha256(model_path.read_bytes()).hexdigest()
    settings = {
        "model_sha256": digest,
        "asked_metrics": list(metrics),
        "limit": options.limit,
        "stage": options.stage,
        "max_iterations": options.max_iterations,
        "overrides": options.overrides,
    }
    if not options.overwrite and _stands(folder, settings):
        print(f"{folder} holds this evaluation already (--overwrite measures again):")
        show(json.loads((folder / "summary.json").read_text(encoding="utf-8")))
        return 0
    command = f"asteroid-stab evaluate {shlex.join(argv)}"
    facts = {"command": command, "model": str(model_path), **settings}
    show(_evaluate(run, options, metrics, facts, folder))
    print(f"written to {folder}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="asteroid-stab evaluate",
        description="Separates the whole mixtures of a split with RUN/best_model.pth, measures the estimates "
        "and writes RUN/evaluation/SPLIT: utterances.csv, summary.json, examples. With --stage and "
        "--max-iterations it is SPLIT_stageN_iterationsN, which the report draws beside it.",
    )
    parser.add_argument("run", metavar="RUN", help="run folder, as written by asteroid-stab train")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="data.KEY=VALUE",
        help="changes of the run's data, e.g. of a moved corpus",
    )
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="default: %(default)s")
    parser.add_argument("--metrics", nargs="+", choices=METRICS, metavar="METRIC", help="some of: %(choices)s (all)")
    parser.add_argument(
        "--n-jobs",
        type=positive,
        metavar="N",
        help="processes that measure (one a core; half as many if the model runs on the CPU)",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N mixtures")
    parser.add_argument("--stage", type=positive, metavar="N", help="the model of a stage (callbacks=[progressive])")
    add_max_iterations(parser)
    parser.add_argument("--device", default="cpu", help="where the model runs: cpu, cuda, ... (%(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace an evaluation of the same model")
    return parser


def _stands(folder: Path, settings: dict[str, Any]) -> bool:
    """Whether the folder holds just this evaluation. One of an older model does not count.

    Raises:
        StabError: it holds another evaluation of the same model.
    """
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return False
    known = {key: summary.get(key) for key in settings}
    if known == settings:
        return True
    if known["model_sha256"] == settings["model_sha256"]:
        differs = next(key for key in settings if known[key] != settings[key])
        raise StabError(
            f"{folder} holds an evaluation of this model with {differs}={known[differs]}, "
            f"wanted {settings[differs]}; --overwrite replaces it"
        )
    return False


def _evaluate(
    run: Any, options: argparse.Namespace, metrics: tuple[str, ...], facts: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """The summary of a new evaluation, which stands in ``folder`` as a whole or not at all."""
    from rich.console import Console
    from rich.progress import Progress

    from asteroid_stab.metrics.evaluation import check_model, evaluate, write_tables
    from asteroid_stab.metrics.examples import write_examples
    from asteroid_stab.metrics.pool import MetricPool, available_cores
    from asteroid_stab.models.files import load_model
    from asteroid_stab.separation.device import to_device
    from asteroid_stab.threads import torch_threads

    model = load_model(facts["model"])
    limit_iterations(model, options.max_iterations)
    data = run.datamodule(options.overrides)
    metrics = _possible(metrics, data.sample_rate)
    n_jobs, n_threads = share_cores(available_cores(), options.n_jobs, options.device == "cpu")
    with (
        torch_threads(n_threads),
        MetricPool(data.sample_rate, metrics, n_jobs) as pool,  # starts while the data get ready
    ):
        model = to_device(model, options.device)
        data.prepare_data()
        dataset = data.test_dataset(options.split)
        check_model(model, dataset)
        n_items = min(options.limit or len(dataset), len(dataset))
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(f"{options.split}: {n_items} mixtures", total=n_items)
            evaluation = evaluate(model, dataset, pool, options.limit, lambda: progress.advance(task))
    new, old = (folder.with_name(f".{os.getpid()}.{state}.{folder.name}") for state in ("new", "old"))
    try:
        facts = {"split": options.split, "sample_rate": data.sample_rate, **facts}
        write_tables(evaluation, new, facts)
        write_examples(evaluation, model, dataset, new / "examples")
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def share_cores(n_cores: int, n_jobs: int | None, on_cpu: bool) -> tuple[int, int]:
    """Processes that measure, and threads of the model beside them, together no more than the cores if possible.

    With more threads than cores, OpenMP's threads wait for each other: five times slower on two cores (measured).

    Args:
        n_cores: cores of this machine.
        n_jobs: processes that the user asked for; by default all cores, or half of them (two at least) if the
            model needs the others.
        on_cpu: whether the model runs on the CPU.

    Example:
        >>> share_cores(2, None, True), share_cores(16, None, True), share_cores(16, None, False)
        ((2, 1), (8, 8), (16, 1))
    """
    if n_jobs is None:
        n_jobs = min(n_cores, max(2, n_cores // 2)) if on_cpu else n_cores
    return n_jobs, max(1, n_cores - n_jobs)


def _possible(metrics: tuple[str, ...], sample_rate: int) -> tuple[str, ...]:
    from asteroid_stab.metrics.separation_metrics import PESQ_MODES

    if "pesq" not in metrics or sample_rate in PESQ_MODES:
        return metrics
    print(f"PESQ is left out: it is defined at 8000 and 16000 Hz, these data are sampled at {sample_rate} Hz")
    return tuple(metric for metric in metrics if metric != "pesq")
