"""Quarters of the items by a property, and how the treatment goes with it."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from asteroid_stab.data.dataset import MixtureDataset
from asteroid_stab.errors import StabError
from asteroid_stab.report import item_groups
from asteroid_stab.report.item_groups import (
    check_trained_on,
    correlation_interval,
    heard_properties,
    learnt_properties,
    read_treated,
    relations,
    whole_mixtures,
)  # fmt: skip
from asteroid_stab.run import assignments
from asteroid_stab.run.item_tables import DATA_MAP, ITEM_WEIGHTS
from asteroid_stab.run.layout import RunLayout


def test_only_visited_items_are_treated(tmp_path):
    run = RunLayout(tmp_path)
    assert read_treated(run) is None
    ITEM_WEIGHTS.write(run.item_weights, np.zeros((3, 3), dtype=np.float32))
    assert read_treated(run) is None
    table = np.array([[4, 1, 0.5], [0, 0, 0], [2, 2, 0.0]], dtype=np.float32)
    ITEM_WEIGHTS.write(run.item_weights, table)
    treated = read_treated(run)
    assert treated.ids.tolist() == [0, 2]
    assert treated.dropped.tolist() == [0.25, 1.0]
    assert treated.weight.tolist() == [0.5, 0.0]
    assert treated.n_items == 3
    ITEM_WEIGHTS.write(run.item_weights, np.array([[1, 2, 0.5]], dtype=np.float32))
    with pytest.raises(StabError, match=r"item_weights.npy is no readable table of weights \(more dropped visits"):
        read_treated(run)


def named(tiny_corpus, lengths, segment_s=None):
    class Lengths(type(tiny_corpus().dataset("train"))):
        def __init__(self):
            MixtureDataset.__init__(self, [f"item {i}" for i in range(len(lengths))], lengths, 2, 8000, segment_s)

    return Lengths()


def test_an_item_is_the_same_among_whole_mixtures(tiny_corpus):
    """Short mixtures are left out of a training, and its ids are no places among all of them."""
    lengths = [1200, 100, 1200, 100, 1200]
    whole, trained = named(tiny_corpus, lengths), named(tiny_corpus, lengths, 0.1)
    assert whole_mixtures(trained, whole, np.array([0, 1, 2])).tolist() == [0, 2, 4]
    assert whole_mixtures(whole, whole, np.array([3])).tolist() == [3]
    with pytest.raises(StabError, match="the data have no whole mixture of item 'item 4'"):
        whole_mixtures(trained, named(tiny_corpus, lengths[:3]), np.array([0, 2]))


def test_a_training_set_that_is_not_the_runs(tiny_corpus, tmp_path):
    run, trained = RunLayout(tmp_path), named(tiny_corpus, [1200] * 3)
    check_trained_on(run, 3, trained)
    with pytest.raises(StabError, match="was trained on 4 items, the data have 3"):
        check_trained_on(run, 4, trained)
    assignments.write_items(tmp_path, trained.names, "another")
    with pytest.raises(StabError, match="was trained on other items than the data have now"):
        check_trained_on(run, 3, trained)
    assignments.write_items(tmp_path, trained.names, trained.fingerprint)
    check_trained_on(run, 3, trained)


def test_what_the_run_learnt(tmp_path):
    run = RunLayout(tmp_path)
    assert learnt_properties(run, 3) == {}
    DATA_MAP.write(run.data_map, np.array([[2, 5.0, 1.0, 1], [0, 0, 0, 0], [1, -3.0, 0.0, 0]], dtype=np.float32))
    (tmp_path / "assignments").mkdir()
    for epoch, perm in enumerate(([[0, 1]] * 3, [[1, 0], [0, 1], [0, 1]])):
        assignments.write_epoch(tmp_path, epoch, np.array([perm], dtype=np.int8))
    found = learnt_properties(run, 3)
    assert list(found) == ["mean SI-SDR, dB", "spread of it, dB", "label switches"]
    np.testing.assert_array_equal(found["mean SI-SDR, dB"], [5.0, np.nan, -3.0])
    assert found["label switches"].tolist() == [1.0, 0.0, 0.0]
    assert learnt_properties(run, 4) == {}  # of other data


def test_what_is_heard(tiny_data):
    dataset = tiny_data(n_train=4, n_src=3).test_dataset("train")
    steps = []
    found = heard_properties(dataset, np.array([2, 0]), lambda: steps.append(1))
    assert len(steps) == 2
    assert [len(own) for own in found.values()] == [2, 2, 2]
    _, sources, _ = dataset[2]
    assert found["level difference, dB"][0] == item_groups.level_difference(sources.numpy())


@pytest.mark.parametrize("n", [40, 41, 4])
def test_quarters_are_even_and_the_correlation_is_scipys(n):
    random = np.random.default_rng(n)
    own, values = random.standard_normal(n), random.random(n)
    own[:2] = own[:2] if n == 4 else np.nan
    [relation] = relations(values, {"x": own})
    has = np.isfinite(own)
    assert relation.n == has.sum()
    assert relation.correlation == pytest.approx(spearmanr(own[has], values[has]).statistic)
    order = np.argsort(own[has])
    quarters = np.array_split(values[has][order], 4)
    sizes = [len(part) for part in quarters]
    assert max(sizes) - min(sizes) <= 1
    assert np.average(relation.means) == pytest.approx(values[has].mean(), abs=0.05)
    bounds = [bound for pair in relation.bounds for bound in pair]
    assert bounds == sorted(bounds)


def test_equal_values_stay_together():
    own = np.array([0.0] * 30 + [1.0] * 5 + [2.0] * 5)
    [relation] = relations(np.arange(40.0), {"switches": own})
    assert relation.bounds == [(0.0, 0.0), (1.0, 2.0)]
    assert relation.means == [14.5, 34.5]
    [relation] = relations(np.arange(40.0), {"switches": np.array([0.0] * 5 + [3.0] * 35)})
    assert relation.bounds == [(0.0, 0.0), (3.0, 3.0)]
    assert relation.means == [2.0, 22.0]


def test_properties_that_say_nothing_are_left_out():
    assert (
        relations(
            np.arange(5.0), {"none": np.full(5, np.nan), "one": np.ones(5), "few": np.array([1, 2, 3] + [np.nan] * 2)}
        )
        == []
    )
    [relation] = relations(np.ones(5), {"x": np.arange(5.0)})
    assert math.isnan(relation.correlation)
    assert all(map(math.isnan, relation.interval))


@pytest.mark.parametrize("correlation", [0.0, 0.4, -0.7])
def test_the_interval_covers_as_often_as_it_says(correlation):
    """Of pairs from a normal distribution; Spearman's correlation of it is 6/pi asin(r/2)."""
    random, n, hits = np.random.default_rng(0), 60, 0
    r = 2 * math.sin(math.pi * correlation / 6)
    for _ in range(400):
        x = random.standard_normal(n)
        y = r * x + math.sqrt(1 - r**2) * random.standard_normal(n)
        low, high = correlation_interval(float(spearmanr(x, y).statistic), n)
        hits += low <= correlation <= high
    assert 0.91 < hits / 400 < 0.99
