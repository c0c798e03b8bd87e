"""``asteroid-stab evaluate RUN``: separation metrics of a run's model on whole mixtures."""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from asteroid_stab.atomic import check_writable, working_folder
from asteroid_stab.cli.arguments import check_data_overrides, take_trust
from asteroid_stab.cli.evaluate_options import options_of
from asteroid_stab.cli.evaluation_table import show
from asteroid_stab.errors import StabError, within
from asteroid_stab.metrics.names import METRICS
from asteroid_stab.run.layout import EvaluationLayout

SUMMARY = "measures a run's model on whole mixtures"
_ELSEWHERE = "--out DIR writes the evaluation elsewhere"


def main(argv: list[str]) -> int:
    """Evaluates a run and prints its table; an evaluation that exists already is printed again.

    Raises:
        StabError: the run, its data, the variant or the device cannot be used, another evaluation is in the folder of
            this one, or the folder cannot be written.
    """
    options = options_of(argv)
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
    folder = options.out or run.layout.evaluation(options.split, variant.name).folder
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


def _check_place(place: EvaluationLayout, is_ours: bool) -> None:
    """Checks, before anything is measured, that the evaluation can be written.

    Args:
        place: where it will be.
        is_ours: whether the folder is of a run; another one must be new, or hold an evaluation.

    Raises:
        StabError: it cannot be written.
    """
    folder = place.folder
    if folder.exists() and not folder.is_dir():
        raise StabError(f"the folder of the evaluation is a file: {str(folder)!r}; {_ELSEWHERE}")
    if not is_ours and folder.is_dir() and any(folder.iterdir()) and not place.summary.is_file():
        raise StabError(f"--out must be a new folder or one of an evaluation, got {str(folder)!r} with other files")
    check_writable(folder.parent, _ELSEWHERE)


def _evaluate(
    run: Any, variant: Any, options: argparse.Namespace, metrics: tuple[str, ...], facts: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """Evaluates, writes ``folder`` and returns the summary; an interrupted evaluation is gone on with."""
    import torch
    from omegaconf import OmegaConf
    from rich.console import Console
    from rich.progress import Progress

    from asteroid_stab import __version__
    from asteroid_stab.cores import available_cores
    from asteroid_stab.metrics.counting import ACTIVE_DB
    from asteroid_stab.metrics.evaluation import check_model, evaluate
    from asteroid_stab.metrics.examples import write_examples
    from asteroid_stab.metrics.journal import journal
    from asteroid_stab.metrics.pool import MetricPool
    from asteroid_stab.metrics.tables import write_tables
    from asteroid_stab.separation.device import to_device
    from asteroid_stab.threads import torch_threads
    from asteroid_stab.trust import trusted_names, trusting

    place = EvaluationLayout(folder)
    _check_place(place, is_ours=options.out is None)
    with trusting(trusted_names(run.config_dir)):
        model = variant.load()
    data = run.datamodule(options.overrides)
    check_model(model, data.corpus)
    sample_rate = data.corpus.sample_rate
    metrics = _possible(metrics, sample_rate, data.corpus.n_src)
    n_jobs, n_threads = share_cores(available_cores(), options.n_jobs, options.device == "cpu")
    n_threads = min(n_threads, torch.get_num_threads())  # OMP_NUM_THREADS, where the user or a study sets it
    with (
        torch_threads(n_threads),
        MetricPool(sample_rate, metrics, n_jobs) as pool,  # starts while the data are read
    ):
        model = to_device(model, options.device)
        with within("data"):
            dataset = data.test_dataset(options.split)  # makes what it lacks of this split, and of no other
        n_items = min(options.limit or len(dataset), len(dataset))
        measured = {key: facts[key] for key in ("model_sha256", "variant", "overrides")}
        active_db = OmegaConf.select(run.config, "system.active_db", default=ACTIVE_DB)
        measured |= {"active_db": active_db} if dataset.n_active is not None else {}
        measured |= {"metrics": list(metrics), "data": dataset.fingerprint, "version": __version__}
        with (
            journal(place.journal, measured, "wait for its end, or name another folder with --out DIR") as kept,
            Progress(console=Console(stderr=True), transient=True) as progress,
        ):
            if kept.measured:
                print(f"goes on with an evaluation that was interrupted: {len(kept.measured)} mixtures are measured")
            task = progress.add_task(f"{options.split}: {n_items} mixtures", total=n_items)
            advance = partial(progress.advance, task)
            evaluation = evaluate(model, dataset, pool, options.limit, advance, kept, active_db)
            try:
                with working_folder(folder.parent) as new:
                    write_tables(evaluation, new, {"split": options.split, "sample_rate": sample_rate, **facts})
                    write_examples(evaluation, model, dataset, EvaluationLayout(new).examples)
                    _move(EvaluationLayout(new), place)
            except OSError as error:
                raise StabError(
                    f"the evaluation cannot be written to {str(folder)!r}: {error.strerror or error}; all mixtures are "
                    f"measured and kept in {place.journal.name} beside it: make room, and the same command goes on"
                ) from error
    return json.loads(place.summary.read_text(encoding="utf-8"))


def _move(new: EvaluationLayout, place: EvaluationLayout) -> None:
    """Moves a whole evaluation to its place; what else somebody keeps in that folder stays.

    The summary, by which an evaluation is known, goes first and comes last: in between there is none.
    """
    place.folder.mkdir(exist_ok=True)
    for old in reversed(place.files()):
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
    for made in new.files():
        if made.exists():
            made.rename(place.folder / made.name)


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
