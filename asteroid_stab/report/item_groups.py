"""Which training items the stabilizers dropped or weighed down: their shares by quarters of a property."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.errors import StabError
from asteroid_stab.item_names import ItemNames
from asteroid_stab.metrics.input_snr import input_snr
from asteroid_stab.metrics.speakers import level_difference, pitch_distance
from asteroid_stab.microphones import item_reference
from asteroid_stab.report.data_map import rank_correlation
from asteroid_stab.report.item_history import count_item_switches, run_digest
from asteroid_stab.run.item_tables import DATA_MAP, ITEM_WEIGHTS
from asteroid_stab.run.layout import RunLayout

N_GROUPS = 4
Z_95 = 1.959964  # of the normal distribution, for an interval of 95%


@dataclass(frozen=True)
class Treated:
    """The weights of the items that a run visited.

    Attributes:
        ids: of the items, [N].
        visits: number of visits, [N].
        dropped: share of the visits that were dropped, [N].
        weight: mean weight, [N]; 1 is the weight in the plain mean.
        n_items: number of items of the training set, visited or not.
    """

    ids: np.ndarray
    visits: np.ndarray
    dropped: np.ndarray
    weight: np.ndarray
    n_items: int


@dataclass(frozen=True)
class Relation:
    """How a value goes with a property of the items.

    Attributes:
        title: the property and its unit.
        bounds: the property's range in each group, from low to high.
        means: mean of the value in each group.
        n: items that have the property.
        correlation: Spearman's, of the items; nan where one of the two does not vary.
        interval: 95% of the correlation.
    """

    title: str
    bounds: list[tuple[float, float]]
    means: list[float]
    n: int
    correlation: float
    interval: tuple[float, float]


def read_treated(run: RunLayout) -> Treated | None:
    """Reads what was made of the items of a run; None where the run kept nothing, or visited none.

    Raises:
        StabError: the file is no table of weights.
    """
    table = ITEM_WEIGHTS.read(run.item_weights)
    if table is None or not (table[:, 0] > 0).any():
        return None
    ids = np.flatnonzero(table[:, 0] > 0)
    visits, dropped, weight = table[ids].T
    if (dropped > visits).any():
        raise StabError(f"{run.item_weights} is no readable table of weights (more dropped visits than visits)")
    return Treated(ids, visits, dropped / visits, weight, len(table))


def check_trained_on(run: RunLayout, n_items: int, trained: MixtureDataset) -> None:
    """Checks that a training set is the run's.

    Args:
        run: the run folder.
        n_items: number of items in the run's table.
        trained: the training set as the config gives it now.

    Raises:
        StabError: it has another number of items, or other ones.
    """
    if len(trained) != n_items:
        raise StabError(f"{run.root} was trained on {n_items} items, the data have {len(trained)}")
    if (digest := run_digest(run)) and digest != trained.fingerprint:
        raise StabError(f"{run.root} was trained on other items than the data have now")


def whole_mixtures(trained: MixtureDataset, whole: MixtureDataset, ids: np.ndarray) -> np.ndarray:
    """Returns the rows of items in the set of whole mixtures, which a training set of crops has without the short ones.

    Args:
        trained: the training set.
        whole: the set of whole mixtures.
        ids: of the items in the training set, [n].

    Raises:
        StabError: an item is not in the set of whole mixtures.
    """
    if trained.names == whole.names:
        return ids
    names = ItemNames.of(whole.names)
    rows = [names.find(trained.names[item]) for item in ids.tolist()]
    if None in rows:
        raise StabError(f"the data have no whole mixture of item {trained.names[int(ids[rows.index(None)])]!r}")
    return np.array(rows, dtype=np.int64)


def learnt_properties(run: RunLayout, n_items: int) -> dict[str, np.ndarray]:
    """Returns what the run learnt of its items: switches, and the mean and spread of their metric if it kept a map.

    Args:
        run: the run folder.
        n_items: N, the number of items of the training set.

    Returns:
        Values ``[N]`` by title.

    Raises:
        StabError: a file cannot be read.
    """
    found: dict[str, np.ndarray] = {}
    mapped = DATA_MAP.read(run.data_map)
    if mapped is not None and len(mapped) == n_items:
        visited = mapped[:, 0] > 0
        found["mean SI-SDR, dB"] = np.where(visited, mapped[:, 1], np.nan)
        found["spread of it, dB"] = np.where(visited, mapped[:, 2], np.nan)
    if run.all_assignments():
        switches = count_item_switches(run)
        if len(switches) == n_items:
            found["label switches"] = switches.astype(float)
    return found


def heard_properties(
    dataset: MixtureDataset, ids: np.ndarray, advance: Callable[[], None] = lambda: None
) -> dict[str, np.ndarray]:
    """Measures the whole mixtures of items: input SNR, difference in level, and distance in pitch.

    Args:
        dataset: the whole mixtures of the training set.
        ids: rows of the items that are measured, [n], by :func:`whole_mixtures`.
        advance: called after each.

    Returns:
        Values ``[n]`` by title; ``nan`` where an item has none (no noise, one source).
    """
    rows = []
    for item in ids.tolist():
        mixture, sources, _ = dataset[item]
        heard, signals = item_reference(mixture).numpy(), sources.numpy()
        distance = pitch_distance(signals, dataset.sample_rate)
        rows.append((input_snr(heard, signals), level_difference(signals), distance))
        advance()
    titles = ("input SNR, dB", "level difference, dB", "pitch distance, semitones")
    return dict(zip(titles, np.array(rows).reshape(-1, len(titles)).T, strict=True))


def relations(values: np.ndarray, properties: Mapping[str, np.ndarray]) -> list[Relation]:
    """How values go with each property that varies among the items.

    Args:
        values: [n].
        properties: values [n] by title.

    Example:
        >>> dropped, switches = np.array([0.0, 0.1, 0.4, 0.9]), np.array([0.0, 1.0, 4.0, 5.0])
        >>> [relation] = relations(dropped, {"label switches": switches, "constant": np.ones(4)})
        >>> relation.means, relation.correlation, relation.bounds[3]
        ([0.0, 0.1, 0.4, 0.9], 1.0, (5.0, 5.0))
    """
    return [found for title, own in properties.items() if (found := _relation(title, values, own)) is not None]


def _relation(title: str, values: np.ndarray, own: np.ndarray) -> Relation | None:
    has = np.isfinite(own)
    values, own = values[has], own[has]
    if len(own) < N_GROUPS or np.ptp(own) == 0:
        return None
    edges = np.quantile(own, np.arange(1, N_GROUPS) / N_GROUPS)
    group = np.searchsorted(edges, own, side="left")  # equal values are in one group, which may leave another one empty
    if np.ptp(group) == 0:  # most items share the largest value
        group = np.searchsorted(edges, own, side="right")
    members = [group == k for k in np.unique(group)]
    correlation = rank_correlation(own, values)
    return Relation(
        title,
        [(float(own[of].min()), float(own[of].max())) for of in members],
        [float(values[of].mean()) for of in members],
        len(own),
        correlation,
        correlation_interval(correlation, len(own)),
    )


def correlation_interval(correlation: float, n: int) -> tuple[float, float]:
    """The 95% interval of Spearman's correlation of ``n`` pairs; nan where there is none.

    Example:
        >>> [round(bound, 2) for bound in correlation_interval(0.5, 103)]
        [0.33, 0.64]

    References:
        Fieller, Hartley, Pearson, "Tests for rank correlation coefficients", Biometrika, 1957: the standard error of
        Fisher's z, the square root of 1.06 / (n - 3).
    """
    if math.isnan(correlation) or n < 4 or abs(correlation) == 1:
        return (math.nan, math.nan)
    z, error = math.atanh(correlation), Z_95 * math.sqrt(1.06 / (n - 3))
    return (math.tanh(z - error), math.tanh(z + error))
