"""``asteroid-stab compare DIR``: the table of a study, with its spread over seeds."""

from __future__ import annotations

import argparse
from pathlib import Path

from asteroid_stab.atomic import check_writable, replacing
from asteroid_stab.cli.arguments import path
from asteroid_stab.cli.evaluate_options import check_corpus_name
from asteroid_stab.errors import StabError, nearest, some
from asteroid_stab.metrics.names import PERCENTILES
from asteroid_stab.paths import shown
from asteroid_stab.run.layout import RunLayout

PICTURES = (".svg", ".png", ".pdf")
SUMMARY = "prints the table of a study: DIR/ROW/SEED run folders, mean and spread over the seeds"


def picture(folder: Path, split: str, file: Path, corpus: str = "") -> None:
    """Draws the percentiles of the SI-SDRi of every row: mean over the seeds, and range.

    Raises:
        StabError: no run was evaluated, or the file cannot be written.
    """
    import matplotlib as mpl
    import numpy as np

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    from asteroid_stab.run.study_distribution import evaluations
    from asteroid_stab.run.study_items import measured_on

    mpl.rcParams["text.parse_math"] = False  # a row may have any name
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for row, tables in evaluations(folder, split, corpus)[0].items():
        values = np.array([[t["mixtures"].get(f"p{p}", np.nan) for p in PERCENTILES] for t in tables])
        values = np.where(np.isfinite(values), values, np.nan)
        places = np.flatnonzero(np.isfinite(values).any(0))  # a percentile that no seed has is no point
        values = values[:, places]
        if len(places):
            (line,) = axes.plot(places, np.nanmean(values, 0), marker="o", label=_label(row))
            axes.fill_between(places, np.nanmin(values, 0), np.nanmax(values, 0), color=line.get_color(), alpha=0.2)
    if not axes.lines:
        raise StabError(f"no run of {folder} has an evaluation of {measured_on(split, corpus)}")
    axes.set_xticks(range(len(PERCENTILES)), [str(p) for p in PERCENTILES])
    axes.set_xlabel("percentile of the mixtures")
    axes.set_ylabel(f"{measured_on(split, corpus)} SI-SDRi, dB")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    try:
        with replacing(file) as new:
            figure.savefig(new, dpi=150)
    except (OSError, ValueError) as error:
        raise StabError(f"cannot draw {file}: {error}") from error
    finally:
        plt.close(figure)


def page(folder: Path, split: str, baseline: str | None, file: Path, corpus: str = "") -> None:
    """Writes the page of a study.

    Raises:
        StabError: the study cannot be read, or the file cannot be written.
    """
    from asteroid_stab.report.page import write
    from asteroid_stab.report.study_page import render_study
    from asteroid_stab.run.study import read_study
    from asteroid_stab.run.study_items import measured_on

    title = f"study {folder.resolve().name}"
    study = read_study(folder, split, baseline, corpus)
    write(render_study(study, measured_on(split, corpus), title), file)
    print(file)


def keep(folder: Path, split: str, to: Path, corpus: str = "") -> None:
    """Copies the results of a study, and prints what was copied.

    Raises:
        StabError: no run was evaluated, or the other folder cannot take the results.
    """
    from asteroid_stab.run.study_results import keep_results

    copied, left_out = keep_results(folder, to, split, corpus)
    print(f"\nthe results of {len(copied)} runs are in {shown(str(to))}")
    for name, reason in left_out.items():
        print(f"left out: {shown(name)}, {reason}")


def _label(row: str) -> str:
    """The name of a row in the legend, which leaves out names that begin with an underscore."""
    return f" {shown(row)}" if row.startswith("_") else shown(row)


def check_picture(file: Path) -> None:
    """Checks, before the runs are read, that a picture can be written.

    Raises:
        StabError: its suffix is of no picture, it is a folder, or its folder cannot be written.
    """
    if file.suffix.lower() not in PICTURES or file.is_dir():
        raise StabError(f"--picture must be a file that ends in {', '.join(PICTURES)}, got {str(file)!r}")
    check_writable(file.parent, "--picture names another file")


def check_corpus(folder: Path, split: str, corpus: str) -> None:
    """Checks that a run of a study was evaluated on a corpus.

    Args:
        folder: the folder of the study.
        split: the split.
        corpus: name of the evaluations that stand beside the ones of the runs' own corpus.

    Raises:
        StabError: none was, or the folder holds no runs.
    """
    from asteroid_stab.run.study import study
    from asteroid_stab.run.study_items import measured_on

    runs = [RunLayout(run) for of_row in study(folder).values() for run in of_row]
    if any(run.evaluation(split, corpus=corpus).summary.is_file() for run in runs):
        return
    names = sorted({one.folder.name.partition("@")[2] for run in runs for one in run.other_corpora(split)})
    known = f"there are evaluations of {some(names)}" if names else "there are none of other corpora"
    raise StabError(
        f"no run of {folder} has an evaluation of {measured_on(split, corpus)}{nearest(corpus, names)}; {known} "
        f"(asteroid-stab evaluate RUN data=CORPUS, or --name NAME, makes them)"
    )


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser, without an import that takes long: shell completion asks it too."""
    parser = argparse.ArgumentParser(prog="asteroid-stab compare", description=SUMMARY)
    parser.add_argument("folder", type=path, metavar="DIR", help="study folder: DIR/ROW/SEED are run folders")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="default: %(default)s")
    parser.add_argument(
        "--corpus", metavar="NAME", help="compare evaluations of another corpus than the runs' own, by their name"
    )
    parser.add_argument(
        "--baseline", metavar="ROW", help="the row that the others' scores are compared with (default: the first)"
    )
    tables = parser.add_mutually_exclusive_group()
    tables.add_argument("--by-epoch", action="store_true", help="switches in every epoch, in percent")
    tables.add_argument(
        "--by-snr", action="store_true", help="SI-SDRi and the models' figures by quarter of the input SNR"
    )
    tables.add_argument("--reach", metavar="ROW", help="epochs that each row needed for ROW's last validation SI-SDRi")
    tables.add_argument(
        "--distribution",
        action="store_true",
        help="mean, standard deviation and percentiles of the SI-SDRi, also by class",
    )
    tables.add_argument(
        "--cost", action="store_true", help="parameters, MACs for a second of sound and real-time factor of the models"
    )
    parser.add_argument(
        "--picture", type=path, metavar="FILE", help="draw the percentiles into FILE (.svg, .png, .pdf)"
    )
    parser.add_argument(
        "--page",
        type=path,
        metavar="FILE",
        help="write a self-contained HTML page of tables, differences with intervals, curves and cost (.html)",
    )
    parser.add_argument(
        "--keep",
        type=path,
        metavar="FOLDER",
        help="copy the results without models and sounds into FOLDER, which compare reads as it reads DIR; results of "
        "other rows and seeds in FOLDER stay",
    )
    return parser


def main(argv: list[str]) -> int:
    """Prints the table that the options choose.

    Raises:
        StabError: the study cannot be read, no run has such an evaluation, or an option does not fit another one.
    """
    options = make_parser().parse_args(argv)

    from asteroid_stab.run.study import by_epoch, reached, table
    from asteroid_stab.run.study_cost import cost_table
    from asteroid_stab.run.study_distribution import by_snr, distribution

    corpus = options.corpus or ""
    if options.corpus is not None:
        if option := "--by-epoch" if options.by_epoch else "--reach" if options.reach else "":
            raise StabError(f"--corpus chooses evaluations, and {option} shows the training: leave one out")
        check_corpus(options.folder, options.split, check_corpus_name(corpus, "--corpus"))
    if options.picture is not None:
        check_picture(options.picture)
    if options.page is not None:
        from asteroid_stab.report.page import check_place

        check_place(options.page, "--page")
    if options.keep is not None:
        from asteroid_stab.run.study_results import check_place as check_beside

        check_beside(options.folder, options.keep)
        check_writable(options.keep, "--keep names another folder")
    if options.by_epoch:
        lines = by_epoch(options.folder)
    elif options.by_snr:
        lines = by_snr(options.folder, options.split, corpus)
    elif options.reach:
        lines = reached(options.folder, options.reach)
    elif options.distribution:
        lines = distribution(options.folder, options.split, corpus)
    elif options.cost:
        lines = cost_table(options.folder, options.split, corpus)
    else:
        lines = table(options.folder, options.split, options.baseline, corpus)
    print("\n".join(map(shown, lines)))  # a folder of a study may have any name
    if options.picture is not None:
        picture(options.folder, options.split, options.picture, corpus)
    if options.page is not None:
        page(options.folder, options.split, options.baseline, options.page, corpus)
    if options.keep is not None:
        keep(options.folder, options.split, options.keep, corpus)
    return 0
