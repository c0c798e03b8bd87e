"""Tables of a study's evaluations: the distribution of the SI-SDRi, and its dependence on the noise."""

from __future__ import annotations

import math
from pathlib import Path

from asteroid_stab.errors import StabError
from asteroid_stab.metrics.names import INPUT_SNR, NUMBERS, PERCENTILES, column_info
from asteroid_stab.run.study import GAIN, markdown, spread, study, title_of
from asteroid_stab.run.study_items import measured, measured_on, unlike_rows

QUARTERS = ("lowest quarter of SNR", "second", "third", "highest")


def distribution(folder: Path, split: str, corpus: str = "") -> list[str]:
    """The lines of a table of mean, standard deviation and percentiles of the SI-SDRi, for mixtures and classes."""
    head = ["row", "of", "mean", "std", *(f"q{p}" for p in PERCENTILES), "n"]
    lines = [head, ["---"] * len(head)]
    found, notes = evaluations(folder, split, corpus)
    for row, tables in found.items():
        names = list(dict.fromkeys(name for table in tables for name in table))
        for name in names:
            columns = [[table.get(name, {}).get(key, math.nan) for table in tables] for key in NUMBERS]
            counts = spread([table.get(name, {}).get("n", math.nan) for table in tables], 0)
            lines.append([row, name, *(spread(values, 2) for values in columns), counts])
    return [*markdown(lines), *notes]


def by_snr(folder: Path, split: str, corpus: str = "") -> list[str]:
    """The lines of a table of the SI-SDRi and the models' figures, for all mixtures and by quarter of their input SNR.

    Raises:
        StabError: no run was evaluated on noisy mixtures.

    References:
        Bralios et al., arXiv 2211.11917, figure 5.
    """
    import numpy as np

    from asteroid_stab.report.item_figures import binned_means
    from asteroid_stab.report.run_data import read_runs

    lines = [["row", "of", "all", *QUARTERS, "n"], ["---"] * (4 + len(QUARTERS))]
    rows = {row: read_runs(runs, split, corpus) for row, runs in study(folder).items()}
    unlike, notes = unlike_rows(rows)
    for row, runs in rows.items():
        if row in unlike:
            continue
        counts = []
        found: dict[str, list[list[float]]] = {}
        titles = {
            INPUT_SNR: title_of(column_info(INPUT_SNR)),
            "si_sdr_i": f"{measured_on(split, corpus)} {title_of(GAIN)}",
        }
        for run in runs:
            if not measured(run) or run.evaluation is None or INPUT_SNR not in run.evaluation.utterances:
                continue
            here = run.evaluation.utterances
            here = here[np.isfinite(here[INPUT_SNR]) & np.isfinite(here["si_sdr_i"])]
            if len(here) < len(QUARTERS):
                continue
            titles |= {name: title_of(info) for name, info in run.evaluation.figures.items()}
            counts.append(float(len(here)))
            for name in titles.keys() & set(here.columns):
                [_, means] = binned_means(here[INPUT_SNR].to_numpy(), [here[name].to_numpy()], len(QUARTERS))
                found.setdefault(name, []).append([float(here[name].mean()), *map(float, means)])
        for name, title in titles.items():
            if name in found:
                cells = [spread(column, 2) for column in zip(*found[name], strict=True)]
                lines.append([row, title, *cells, spread(counts, 0)])
    if len(lines) == 2 and not unlike:
        raise StabError(f"no run of {folder} was evaluated on noisy mixtures of {measured_on(split, corpus)}")
    return [*markdown(lines), *notes]


def evaluations(
    folder: Path, split: str, corpus: str = ""
) -> tuple[dict[str, list[dict[str, dict[str, float]]]], list[str]]:
    """The numbers of the SI-SDRi of every run, by row: for the mixtures, and for the sources of each class.

    Rows whose runs were evaluated on different mixtures are left out; the second result has the lines that say so.
    """
    from asteroid_stab.report.run_data import read_runs

    found: dict[str, list[dict[str, dict[str, float]]]] = {}
    rows = {row: read_runs(runs, split, corpus) for row, runs in study(folder).items()}
    unlike, notes = unlike_rows(rows)
    for row, runs in rows.items():
        if row in unlike:
            continue
        found[row] = []
        for run in runs:
            mixtures = measured(run)
            found[row].append({"mixtures": mixtures})
            if mixtures and run.evaluation:
                found[row][-1].update(run.evaluation.classes)
    return found, notes
