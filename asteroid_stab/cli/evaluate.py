"""``asteroid-stab evaluate RUN``: separation metrics of a run's model on whole mixtures."""

from __future__ import annotations

import argparse
import json
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asteroid_stab.atomic import working_folder
from asteroid_stab.cli.arguments import check_data_overrides, take_trust
from asteroid_stab.cli.evaluate_options import check_corpus_name, files_corpus, make_parser, options_of
from asteroid_stab.cli.evaluation_place import check_broken, check_place, existing, move_evaluation
from asteroid_stab.cli.evaluation_table import show
from asteroid_stab.cli.measuring import possible_metrics, share_cores
from asteroid_stab.cli.recognition import Recognition
from asteroid_stab.cli.separators import ModelSeparator, OracleSeparator, Separator
from asteroid_stab.errors import StabError, within
from asteroid_stab.metrics.names import STANDARD
from asteroid_stab.run.layout import EvaluationLayout

if TYPE_CHECKING:
    from asteroid_stab.run.folder import RunFolder

__all__ = ["SUMMARY", "main", "make_parser"]
SUMMARY = "measures a run's model on whole mixtures"


def main(argv: list[str]) -> int:
    """Evaluates a run, or a beamformer on its data, and prints the table; one that exists already is printed again.

    Raises:
        StabError: the run, its data, the variant or the device cannot be used, another evaluation is in the folder of
            this one, or the folder cannot be written.
    """
    options = options_of(argv)
    metrics = tuple(dict.fromkeys(["si_sdr", *(options.metrics or STANDARD)]))
    check_data_overrides(options.overrides, may_choose=True)

    from asteroid_stab.run.folder import RunFolder

    take_trust(options.trust)
    run = RunFolder(options.run, options.config_dir)
    run.check_trusted("loader")
    corpora = _corpora(options)

    separator, tried = _separator(options, run)
    if run.config.get("pretext") and options.oracle is None:
        print("note: this run's pretext task does not train the model to separate or enhance, which is measured here")
    command = f"asteroid-stab evaluate {shlex.join(argv)}"
    recognition = Recognition.of(options)
    summaries = []
    for name, place in corpora:
        overrides = options.overrides if place is None else [*files_corpus(place, *tried), *options.overrides]
        settings = {
            **separator.settings,
            "asked_metrics": list(metrics),
            "limit": options.limit,
            "corpus": name or None,
            "overrides": overrides,
            **recognition.settings,
        }
        folder = (
            options.out
            or run.layout.evaluation(
                options.split, separator.settings["variant"] or "", name, options.oracle or ""
            ).folder
        )
        if not options.overwrite and (summary := existing(folder, settings)):
            print(f"{folder} holds this evaluation already (--overwrite measures again):")
            show(summary)
        else:
            facts = {"command": command, **separator.facts, **settings}
            summary = _evaluate(run, separator, options, metrics, facts, folder, recognition)
            show(summary)
            print(f"written to {folder}")
        summaries.append(summary)
    for summary in summaries:
        check_broken(summary)
    return 0


def _separator(options: argparse.Namespace, run: RunFolder) -> tuple[Separator, tuple[int, int]]:
    """Returns the way to separate; and, where files are evaluated, the model's number of sources and sample rate."""
    from asteroid_stab.run.variants import find_variant
    from asteroid_stab.trust import trusted_names

    oracle = None if options.oracle is None else OracleSeparator(options.oracle)
    if oracle is not None and not options.files:
        return oracle, (0, 0)  # a run without a model has it too
    variant = find_variant(run.path, options.variant)
    model = ModelSeparator(variant, trusted_names(run.config_dir), options.device, options.batch_size)
    return oracle or model, model.n_src_and_rate() if options.files else (0, 0)


def _corpora(options: argparse.Namespace) -> list[tuple[str, Path | None]]:
    """Names of the evaluations that are asked for, empty for the run's own corpus, and the files that they are of.

    Raises:
        StabError: the words do not fit each other, or a name is none.
    """
    from asteroid_stab.run.compose_data import chosen_corpus

    chosen = chosen_corpus(options.overrides)
    if not options.files:
        return [(options.name or chosen or "", None)]
    if chosen is not None:
        raise StabError(
            f"either data={chosen} or files are evaluated, got {options.files[0]} too: one command for each"
        )
    if options.split != "test":
        raise StabError(f"files have no splits: --split {options.split} is of a corpus, got {options.files[0]}")
    if len(options.files) > 1 and (given := "--name" if options.name else "--out" if options.out else ""):
        raise StabError(f"{given} is of one evaluation, got {len(options.files)} folders or tables")
    for one in options.files:
        files_corpus(one, 1, 1)  # refuses what is neither a folder nor a table
    names = [
        options.name or check_corpus_name(one.resolve().stem, f"{one}: without --name, its name")
        for one in options.files
    ]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise StabError(f"two of the folders or tables have the name {twice!r}: evaluate one of them with --name")
    return list(zip(names, options.files, strict=True))


def _evaluate(
    run: Any,
    separator: Separator,
    options: argparse.Namespace,
    metrics: tuple[str, ...],
    facts: dict[str, Any],
    folder: Path,
    recognition: Recognition,
) -> dict[str, Any]:
    """Evaluates, writes ``folder`` and returns the summary; an interrupted evaluation is gone on with."""
    import torch
    from omegaconf import OmegaConf
    from rich.console import Console
    from rich.progress import Progress

    from asteroid_stab import __version__
    from asteroid_stab.cores import available_cores
    from asteroid_stab.metrics.counting import ACTIVE_DB
    from asteroid_stab.metrics.evaluation import measure_all
    from asteroid_stab.metrics.examples import write_examples
    from asteroid_stab.metrics.journal import journal
    from asteroid_stab.metrics.pool import MetricPool
    from asteroid_stab.metrics.tables import write_tables
    from asteroid_stab.threads import torch_threads

    place = EvaluationLayout(folder)
    check_place(place, is_ours=options.out is None)
    data = run.datamodule(facts["overrides"])
    separator.check_corpus(data.corpus)
    sample_rate = data.corpus.sample_rate
    metrics = possible_metrics(metrics, sample_rate, data.corpus.n_src)
    n_jobs, n_threads = share_cores(available_cores(), options.n_jobs, options.device == "cpu")
    n_threads = min(n_threads, torch.get_num_threads())  # OMP_NUM_THREADS, where the user or a study sets it
    with (
        torch_threads(n_threads),
        MetricPool(sample_rate, metrics, n_jobs) as pool,  # starts while the data are read
    ):
        with within("data"):
            dataset = data.test_dataset(options.split)  # makes what it lacks of this split, and of no other
        separator.check_data(dataset)
        n_items = min(options.limit or len(dataset), len(dataset))
        words = recognition.errors_in(dataset, options.limit)
        measured = {key: facts[key] for key in (*separator.settings, "overrides", *recognition.settings)}
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
            pool.wait_until_started()  # their imports would take cores from the model
            cost, estimates = separator.cost(dataset), separator.estimates(dataset)
            facts |= {"cost": cost and cost._asdict(), "n_of": len(dataset), "n_mics": dataset.n_mics}
            facts |= {"target": data.corpus.references or None}
            evaluation = measure_all(
                estimates, separator.figures, dataset, pool, options.limit, advance, kept, active_db, words
            )
            try:
                with working_folder(folder.parent) as new:
                    write_tables(evaluation, new, {"split": options.split, "sample_rate": sample_rate, **facts})
                    write_examples(evaluation, estimates, sample_rate, EvaluationLayout(new).examples)
                    move_evaluation(EvaluationLayout(new), place)
            except OSError as error:
                raise StabError(
                    f"the evaluation cannot be written to {str(folder)!r}: {error.strerror or error}; all mixtures are "
                    f"measured and kept in {place.journal.name} beside it: make room, and the same command goes on"
                ) from error
    return json.loads(place.summary.read_text(encoding="utf-8"))
