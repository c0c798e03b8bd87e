"""``asteroid-stab weights RUN``: which training items the stabilizers dropped or weighed down."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asteroid_stab.cli.arguments import add_trust, check_data_overrides, path, positive, take_trust
from asteroid_stab.errors import StabError, within

if TYPE_CHECKING:
    import numpy as np

    from asteroid_stab.data.dataset import MixtureDataset
    from asteroid_stab.report.item_groups import Relation, Treated

SUMMARY = "shows which training items the stabilizers dropped, or gave less weight"


def main(argv: list[str]) -> int:
    """Prints, for each property of the training items, the share of dropped visits or the weight in its quarters.

    Raises:
        StabError: the run kept no weights, or its data cannot be used.
    """
    options = make_parser().parse_intermixed_args(argv)
    check_data_overrides(options.overrides)
    take_trust(options.trust)

    from asteroid_stab.report.item_groups import (
        check_trained_on,
        learnt_properties,
        read_treated,
        relations,
        whole_mixtures,
    )
    from asteroid_stab.run.folder import RunFolder

    run = RunFolder(options.run, options.config_dir)
    run.check_trusted("data", "loader")
    treated = read_treated(run.layout)
    if treated is None:
        raise StabError(f"{run.path} kept no weights of its items: train with callbacks=[tracker,weights]")
    place = _chosen(len(treated.ids), options.limit)
    ids = treated.ids[place]
    data = run.datamodule(options.overrides)
    with within("data"):
        data.setup("fit")
        whole = data.test_dataset("train")
    trained = data.train_set
    assert trained is not None  # after setup
    check_trained_on(run.layout, treated.n_items, trained)
    properties = {
        **{title: own[ids] for title, own in learnt_properties(run.layout, treated.n_items).items()},
        **_heard(whole, whole_mixtures(trained, whole, ids)),
    }
    _print(treated, relations(_values(treated)[place], properties), len(place))
    return 0


def _values(treated: Treated) -> np.ndarray:
    return treated.dropped if treated.dropped.any() else treated.weight


def _chosen(n: int, limit: int | None) -> np.ndarray:
    """Places of the items that are measured: all, or some that lie evenly among them."""
    import numpy as np

    return np.unique(np.linspace(0, n - 1, min(n, limit or n)).round().astype(int))


def _heard(dataset: MixtureDataset, ids: np.ndarray) -> dict[str, np.ndarray]:
    from rich.console import Console
    from rich.progress import Progress

    from asteroid_stab.report.item_groups import heard_properties

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"{len(ids)} mixtures", total=len(ids))
        return heard_properties(dataset, ids, lambda: progress.advance(task))


def _print(treated: Treated, found: Sequence[Relation], n_measured: int) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    from asteroid_stab.printed import print_table
    from asteroid_stab.report.item_groups import N_GROUPS

    visits = treated.visits.sum()
    dropped = (treated.dropped * treated.visits).sum() / visits
    print(f"{len(treated.ids):,} items, {visits:,.0f} visits, {dropped:.1%} of them dropped; {n_measured:,} measured")
    any_dropped = bool(treated.dropped.any())
    what = "share of dropped visits" if any_dropped else "mean weight (1: the plain mean's)"
    if not found:
        print(f"there is nothing to compare: no property varies among at least {N_GROUPS} items")
        return
    if all(relation.correlation != relation.correlation for relation in found):
        print(f"there is nothing to compare: every item has the same {what}")
        return
    shown = Table(title=f"{what}, by quarters of the items", title_justify="left", box=SIMPLE)
    for column in ("property", "lowest", "", "", "highest", "rank correlation\nand 95% interval"):
        shown.add_column(column, justify="left" if column == "property" else "right", no_wrap=True)
    for relation in found:
        cells = [
            f"{_cell(mean, any_dropped)}\n≤ {high:.1f}"
            for mean, (_, high) in zip(relation.means, relation.bounds, strict=True)
        ]
        cells[1:1] = ["–"] * (4 - len(cells))  # quarters that many equal values leave empty
        title, unit = relation.title.split(", ") if ", " in relation.title else (relation.title, "")
        shown.add_row(f"{title}\n{unit}", *cells, _correlation(relation))
    print_table(shown)


def _cell(mean: float, any_dropped: bool) -> str:
    return f"{mean:.1%}" if any_dropped else f"{mean:.3f}"


def _correlation(relation: Relation) -> str:
    if relation.correlation != relation.correlation:
        return "–"
    low, high = relation.interval
    interval = f"{low:+.2f} to {high:+.2f}" if low == low else "–"  # of a perfect order there is none
    return f"{relation.correlation:+.2f}\n{interval}"


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser, without an import that takes long: shell completion asks it too."""
    parser = argparse.ArgumentParser(
        prog="asteroid-stab weights",
        description="Shows which training items the stabilizers of a run dropped, or gave less weight: by label "
        "switches, by mean and spread of their SI-SDR (callbacks=[tracker,data_map,weights]), by input SNR, and by how "
        "far the speakers lie apart in level and pitch. The run must have kept the weights "
        "(callbacks=[tracker,weights]).",
    )
    parser.add_argument("run", type=path, metavar="RUN", help="run folder, as written by asteroid-stab train")
    parser.add_argument("overrides", nargs="*", metavar="data.KEY=VALUE", help="changes to the run's data")
    parser.add_argument("--limit", type=positive, metavar="N", help="measure only N of the items, evenly chosen")
    add_trust(parser)
    return parser
