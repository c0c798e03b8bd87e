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

from asteroid_stab.cli.arguments import add_trust, add_variant, check_data_overrides, positive, take_trust
from asteroid_stab.cli.evaluation_table import show
from asteroid_stab.errors import StabError, within
from asteroid_stab.metrics.names import METRICS
from asteroid_stab.run.layout import EvaluationLayout, RunLayout

SUMMARY = "measures a run's model on whole mixtures"


def main(argv: list[str]) -> int:
    """Evaluates a run and prints its table; an evaluation that exists already is printed again.

    Raises:
        StabError: the run, its data, the variant or the device cannot be used, or another evaluation is in the folder
            of this one.
    """
    options = _parser().parse_intermixed_args(argv)  # overrides may follow an option
    metrics = tuple(dict.fromkeys(["si_sdr", *(options.metrics or METRICS)]))
    check_data_overrides(options.overrides)

    from asteroid_stab.run.folder import RunFolder
    from asteroid_stab.run.variants import find_variant

    take_trust(options.trust)
    run = RunFolder(options.run, options.config_dir)
    run.check_trusted("data", "loader")
    variant = find_variant(run.path, options.variant)
    if run.config.get("pretext"):
        print("note: this run's pretext task does not train the model to separate or enhance, which is measured here")
    folder = run.layout.evaluation(options.split, variant.name).folder
    digest = hashlib.sha256(variant.file.read_bytes()).hexdigest()
    settings = {
        "model_sha256": digest,
        "asked_metrics": list(metrics),
        "limit": options.limit,
        "variant": variant.name or None,
        "overrides": options.overrides,
    }
    if not options.overwrite and (summary := _existing(folder, settings)):
        print(f"{folder} holds this evaluation already (--overwrite measures again):")
        show(summary)
        _check_broken(summary)
        return 0
    command = f"asteroid-stab evaluate {shlex.join(argv)}"
    facts = {"command": command, "model": str(variant.file), **settings}
    summary = _evaluate(run, variant, options, metrics, facts, folder)
    show(summary)
    print(f"written to {folder}")
    _check_broken(summary)
    return 0


def _check_broken(summary: dict[str, Any]) -> None:
    """Checks that every mixture of an evaluation was read, separated and measured.

    Raises:
        StabError: some were not; it names all of them.
    """
    if broken := summary.get("broken"):
        reasons = "\n  ".join(f"{name}: {reason}" for name, reason in broken.items())
        raise StabError(f"{len(broken)} of {summary['n']} mixtures could not be measured\n  {reasons}")


def _parser() -> argparse.ArgumentParser:
    made = RunLayout("RUN").evaluation("SPLIT")
    parser = argparse.ArgumentParser(
        prog="asteroid-stab evaluate",
        description=f"Separates the whole mixtures of a split with {RunLayout('RUN').model}, measures the estimates "
        f"and writes {made.folder}: {made.utterances.name}, {made.summary.name}, examples. With --variant the folder "
        "is SPLIT_VARIANT, and the report draws the variant beside the run itself.",
    )
    parser.add_argument("run", metavar="RUN", help="run folder, as written by asteroid-stab train")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="data.KEY=VALUE",
        help="changes to the run's data, e.g. for a corpus that was moved",
    )
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="default: %(default)s")
    parser.add_argument(
        "--metrics", nargs="+", choices=tuple(METRICS), metavar="METRIC", help="some of: %(choices)s (all)"
    )
    parser.add_argument(
        "--n-jobs",
        type=positive,
        metavar="N",
        help="number of measuring processes (one for each core; half as many if the model runs on the CPU)",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N mixtures")
    add_variant(parser)
    add_trust(parser)
    parser.add_argument("--device", default="cpu", help="where the model runs: cpu, cuda, ... (%(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace an evaluation of the same model")
    return parser


def _existing(folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The summary of exactly this evaluation if the folder holds it; None if it holds none or one of an older model.

    Raises:
        StabError: it holds another evaluation of the same model.
    """
    from asteroid_stab.run.summary import current

    try:
        summary = current(json.loads(EvaluationLayout(folder).summary.read_text(encoding="utf-8")), folder)
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    known = {key: summary.get(key) for key in settings}
    if known == settings:
        return summary
    if known["model_sha256"] == settings["model_sha256"]:
        differs = next(key for key in settings if known[key] != settings[key])
        raise StabError(
            f"{folder} holds an evaluation of this model with {differs}={known[differs]}, "
            f"wanted {settings[differs]}; --overwrite replaces it"
        )
    return None


def _evaluate(
    run: Any, variant: Any, options: argparse.Namespace, metrics: tuple[str, ...], facts: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """Evaluates, writes ``folder`` whole or not at all, and returns the summary."""
    from rich.console import Console
    from rich.progress import Progress

    from asteroid_stab.metrics.evaluation import check_model, evaluate, write_tables
    from asteroid_stab.metrics.examples import write_examples
    from asteroid_stab.metrics.pool import MetricPool, available_cores
    from asteroid_stab.separation.device import to_device
    from asteroid_stab.threads import torch_threads

    model = variant.load()
    data = run.datamodule(options.overrides)
    sample_rate = data.corpus.sample_rate
    metrics = _possible(metrics, sample_rate, data.corpus.n_src)
    n_jobs, n_threads = share_cores(available_cores(), options.n_jobs, options.device == "cpu")
    with (
        torch_threads(n_threads),
        MetricPool(sample_rate, metrics, n_jobs) as pool,  # starts while the data are prepared
    ):
        model = to_device(model, options.device)
        with within("data"):
            data.prepare_data()
            dataset = data.test_dataset(options.split)
        check_model(model, dataset)
        n_items = min(options.limit or len(dataset), len(dataset))
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(f"{options.split}: {n_items} mixtures", total=n_items)
            evaluation = evaluate(model, dataset, pool, options.limit, lambda: progress.advance(task))
    new, old = (folder.with_name(f".{os.getpid()}.{state}.{folder.name}") for state in ("new", "old"))
    try:
        facts = {"split": options.split, "sample_rate": sample_rate, **facts}
        write_tables(evaluation, new, facts)
        write_examples(evaluation, model, dataset, EvaluationLayout(new).examples)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
    return json.loads(EvaluationLayout(folder).summary.read_text(encoding="utf-8"))


def share_cores(n_cores: int, n_jobs: int | None, on_cpu: bool) -> tuple[int, int]:
    """Number of measuring processes and of the model's threads, together no more than the cores if possible.

    With more threads than cores, OpenMP's threads wait for each other: five times slower on two cores (measured).

    Args:
        n_cores: cores of this machine.
        n_jobs: processes that the user asked for; by default one for each core, or for half of the cores (at least
            two) if the model needs the others.
        on_cpu: whether the model runs on the CPU.

    Example:
        >>> share_cores(2, None, True), share_cores(16, None, True), share_cores(16, None, False)
        ((2, 1), (8, 8), (16, 1))
    """
    if n_jobs is None:
        n_jobs = min(n_cores, max(2, n_cores // 2)) if on_cpu else n_cores
    return n_jobs, max(1, n_cores - n_jobs)


def _possible(metrics: tuple[str, ...], sample_rate: int, n_src: int) -> tuple[str, ...]:
    """Returns the metrics that are defined for these data, and prints which are not."""
    from asteroid_stab.metrics.separation_metrics import PESQ_MODES

    if "pesq" in metrics and sample_rate not in PESQ_MODES:
        print(f"PESQ is left out: it is defined at 8000 and 16000 Hz, these data are sampled at {sample_rate} Hz")
        metrics = tuple(metric for metric in metrics if metric != "pesq")
    if "sir" in metrics and n_src == 1:
        print("SIR is left out: it measures the other sources in an estimate, and these data have one source")
        metrics = tuple(metric for metric in metrics if metric != "sir")
    return metrics
