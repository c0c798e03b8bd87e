"""Table of a study's models by what they cost: parameters, operations, and time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from asteroid_stab.errors import StabError
from asteroid_stab.metrics.names import COSTS
from asteroid_stab.report.run_data import Run, read_runs
from asteroid_stab.run.study import markdown, spread, study, title_of


def costs(runs: Sequence[Run]) -> list[str]:
    """Cells of the costs of a row, mean and spread over its seeds; a dash where an evaluation has none.

    The number of parameters of a run that was not evaluated is taken from its training.
    """
    cells = []
    for name, info in COSTS.items():
        values = [run.evaluation.cost.get(name, math.nan) if run.evaluation else math.nan for run in runs]
        if name == "n_parameters":
            trained = [run.versions.get("n_parameters") for run in runs]
            values = [
                float(n) if math.isnan(value) and n is not None else value
                for value, n in zip(values, trained, strict=True)
            ]
        cells.append(spread(values, info.digits))
    return cells


def cost_table(folder: Path, split: str, corpus: str = "") -> list[str]:
    """The lines of a table of the cost of every row's model, in Markdown.

    Raises:
        StabError: no run was evaluated since evaluations measure the cost.
    """
    rows = {row: read_runs(runs, split, corpus) for row, runs in study(folder).items()}
    if not any(run.evaluation and run.evaluation.cost for runs in rows.values() for run in runs):
        raise StabError(
            f"no run of {folder} has an evaluation of {split} with the cost of its model: "
            "asteroid-stab evaluate RUN --overwrite measures it"
        )
    head = ["row", "seeds", *map(title_of, COSTS.values())]
    lines = [[row, str(len(runs)), *costs(runs)] for row, runs in rows.items()]
    note = "note: the real-time factor is of the machine that evaluated, with all that ran beside it"
    return [*markdown([head, ["---"] * len(head), *lines]), note]
