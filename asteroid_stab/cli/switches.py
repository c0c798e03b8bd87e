"""``asteroid-stab switches RUN``: label switches counted on whole mixtures, and a page about one item's labels."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asteroid_stab.atomic import check_writable, making
from asteroid_stab.cli.arguments import add_trust, check_data_overrides, path, positive, take_trust
from asteroid_stab.errors import StabError, within

if TYPE_CHECKING:
    import numpy as np

    from asteroid_stab.data.dataset import MixtureDataset
    from asteroid_stab.run.layout import RunLayout

SUMMARY = "counts label switches on whole mixtures with each epoch's model, or shows one item's"


def main(argv: list[str]) -> int:
    """Labels the mixtures with each epoch's model, prints the switches and writes their table; or writes a page.

    Labels are kept, so a second call goes on where the first one ended.

    Raises:
        StabError: the run kept no models of its epochs, its data cannot be used or have one source, or another process
            counts the same; for a page, the runs kept no assignments, or not of the same items.
    """
    options = make_parser().parse_intermixed_args(argv)
    overrides = [word for word in options.words if "=" in word and not Path(word).is_dir()]
    others = [path(word) for word in options.words if word not in overrides]
    check_data_overrides(overrides)
    take_trust(options.trust)
    if options.page or options.picture:
        return _show_item([options.run, *others], overrides, options)
    if options.item is not None:
        raise StabError("--item chooses the item of a page or a picture: --page FILE or --picture FILE writes one")
    if others:
        raise StabError(f"one run at a time is counted, got {str(others[0])!r} too; --page FILE compares several")

    from asteroid_stab.run.folder import RunFolder

    run = RunFolder(options.run, options.config_dir)
    run.check_trusted("data", "loader")
    models = run.layout.epoch_models()
    if len(models) < 2:
        raise StabError(
            f"{run.path} holds models of {len(models)} epoch(s), and two are needed: train with "
            "callbacks=[tracker,epoch_models]"
        )
    check_writable(run.path, "the labels of every epoch are kept there")
    data = run.datamodule(overrides)
    with within("data"):
        dataset = data.test_dataset(options.split)
    if dataset.n_src == 1:
        raise StabError(f"{run.path} has one source in a mixture, whose labels cannot switch")
    table = run.layout.whole_switches(options.split, options.limit)
    with making(table, "wait for its end"):
        _write(_labels(models, dataset, options, run.layout), table)
    return 0


def _show_item(paths: list[Path], overrides: list[str], options: argparse.Namespace) -> int:
    """Writes the page or the picture of an item's labels in some runs, and prints their paths."""
    from asteroid_stab.atomic import write_text
    from asteroid_stab.report.item_history import check_same_items, find_item, read_history
    from asteroid_stab.report.item_page import charts, render_item
    from asteroid_stab.report.page import check_place, write
    from asteroid_stab.report.run_data import read_runs
    from asteroid_stab.report.standalone import standalone
    from asteroid_stab.report.training import switch_ratio
    from asteroid_stab.run.folder import RunFolder

    if options.page:
        check_place(options.page, "--page")
    if options.picture and options.picture.suffix != ".svg":
        raise StabError(f"--picture must end in .svg, got {str(options.picture)!r}")
    folders = [RunFolder(one, options.config_dir) for one in paths]
    runs = read_runs(paths)
    check_same_items([folder.layout for folder in folders])
    item, name = find_item(folders[0].layout, options.item)
    histories = {run.name: read_history(one.layout, item) for run, one in zip(runs, folders, strict=True)}
    ratio = switch_ratio(runs)
    if options.picture:
        figures = [*charts(histories, f"Labels of mixture {item}"), *([ratio] if ratio else [])]
        write_text(options.picture, standalone(figures))
        print(options.picture)
    if options.page:
        data = folders[0].datamodule(overrides)
        with within("data"):
            dataset = data.test_dataset("train")
        write(render_item(name, item, histories, dataset, ratio), options.page)
        print(options.page)
    return 0


def _labels(
    models: dict[int, Path], dataset: MixtureDataset, options: argparse.Namespace, run: RunLayout
) -> dict[int, np.ndarray]:
    """The labels ``[N, J]`` of every epoch's model; labels that the run folder has already are read."""
    import numpy as np
    from rich.console import Console
    from rich.progress import Progress

    from asteroid_stab.atomic import replacing
    from asteroid_stab.metrics.whole_labels import whole_labels
    from asteroid_stab.models.files import load_model
    from asteroid_stab.run.assignments import read_table
    from asteroid_stab.separation.device import to_device
    from asteroid_stab.trust import trusted_names

    n_items = min(options.limit or len(dataset), len(dataset))
    found = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"{len(models)} epochs, {n_items} mixtures", total=len(models) * n_items)
        for epoch, file in models.items():
            digest = hashlib.sha256(file.read_bytes() + f"{dataset.fingerprint} {n_items}".encode()).hexdigest()
            kept = run.whole_labels(options.split, epoch, digest)
            if not kept.is_file():
                model = to_device(load_model(file, [*trusted_names(options.config_dir)]), options.device)
                labels = whole_labels(model, dataset, n_items, lambda: progress.advance(task))
                with replacing(kept) as new, open(new, "wb") as stream:
                    np.save(stream, labels)
            found[epoch] = read_table(kept, (n_items, dataset.n_src))
            progress.update(task, completed=len(found) * n_items)
    return found


def _write(labels: dict[int, np.ndarray], table: Path) -> None:
    """Prints and writes the switches from each epoch to the next that was kept; the file counts epochs from 0."""
    import pandas as pd
    import torch
    from rich.table import Table

    from asteroid_stab.atomic import write_text
    from asteroid_stab.printed import print_table
    from asteroid_stab.run.epochs import shown_epoch
    from asteroid_stab.stabilizers import count_switches

    rows: list[dict[str, Any]] = []
    previous = None
    for epoch, found in labels.items():
        current = torch.from_numpy(found).unsqueeze(0)
        rows.append({"epoch": epoch, **count_switches(current, previous)[0]})
        previous = current
    write_text(table, pd.DataFrame(rows).to_csv(index=False))
    shown = Table(title="switches on whole mixtures, from the epoch kept before", title_justify="left")
    for column in ("epoch", "mixtures", "compared", "switched", "ratio"):
        shown.add_column(column, justify="right")
    for row in rows:
        ratio = "-" if row["switch_ratio"] is None else f"{row['switch_ratio']:.1%}"
        counts = (row[key] for key in ("n_seen", "n_compared", "n_switched"))
        shown.add_row(*map(str, (shown_epoch(row["epoch"]), *counts, ratio)))
    print_table(shown)
    print(f"written to {table}")


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser, without an import that takes long: shell completion asks it too."""
    parser = argparse.ArgumentParser(
        prog="asteroid-stab switches",
        description="Labels whole training mixtures with the model of every epoch, in evaluation mode, and counts "
        "the mixtures whose labels differ from the epoch before. The run must have kept its models "
        "(callbacks=[tracker,epoch_models]). With --page or --picture, which need no models, it shows which estimate "
        "each speaker of one training item got in each epoch of the training, in one or several runs.",
    )
    parser.add_argument("run", type=path, metavar="RUN", help="run folder, as written by asteroid-stab train")
    parser.add_argument(
        "words", nargs="*", metavar="data.KEY=VALUE | RUN", help="changes to the run's data; further runs, for a page"
    )
    parser.add_argument("--split", choices=("train", "valid", "test"), default="train", help="default: %(default)s")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N mixtures")
    parser.add_argument(
        "--page", type=path, metavar="FILE", help="write a page about one item, with its sounds (.html)"
    )
    parser.add_argument("--picture", type=path, metavar="FILE", help="write its picture alone (.svg)")
    parser.add_argument(
        "--item", metavar="ID", help="the item's id or name (default: the one with the most switches in the first run)"
    )
    parser.add_argument("--device", default="cpu", help="where the model runs: cpu, cuda, ... (%(default)s)")
    add_trust(parser)
    return parser
