"""Paired differences: their interval beside a bootstrap by drawing, and its coverage."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from asteroid_stab.metrics.paired import Difference, paired_difference, verdict

QUANTILES = {2: 12.706205, 3: 4.302653, 4: 3.182446, 5: 2.776445}  # Student's, of a table, two-sided 95%


def drawn_deviation(means):
    """The deviation of the mean over all draws, with replacement, of all values but one."""
    drawn = [sum(draw) / len(draw) for draw in itertools.product(means, repeat=len(means) - 1)]
    middle = sum(drawn) / len(drawn)
    return math.sqrt(sum((mean - middle) ** 2 for mean in drawn) / len(drawn))


@pytest.mark.parametrize(("n_seeds", "n_mixtures"), [(2, 2), (3, 4), (4, 3), (2, 5)])
def test_the_interval_is_that_of_all_draws(n_seeds, n_mixtures):
    differences = np.random.default_rng(n_seeds).normal(0.3, 1.0, (n_seeds, n_mixtures)).tolist()
    found = paired_difference(np.array(differences))
    assert found.mean == pytest.approx(sum(map(sum, differences)) / (n_seeds * n_mixtures))
    seeds = [sum(row) / n_mixtures for row in differences]
    mixtures = [sum(column) / n_seeds for column in zip(*differences, strict=True)]
    halves = [QUANTILES[len(means)] * drawn_deviation(means) for means in (seeds, mixtures)]
    assert found.half == pytest.approx(math.sqrt(halves[0] ** 2 + halves[1] ** 2), rel=1e-6)
    assert (found.n_seeds, found.n_mixtures) == (n_seeds, n_mixtures)


def test_one_seed_has_the_interval_of_the_mixtures():
    """Which is Student's, of one sample."""
    values = np.array([[0.4, 1.0, -0.2, 0.7, 0.9]])
    found = paired_difference(values)
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values[0]))
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))
    assert paired_difference(values.T).half == pytest.approx(found.half)  # five seeds and one mixture: the same
    assert math.isnan(paired_difference(np.array([[0.4]])).half)


def test_the_order_of_seeds_and_mixtures_does_not_matter_and_the_sign_turns():
    rng = np.random.default_rng(0)
    differences = rng.normal(size=(3, 7))
    found = paired_difference(differences)
    other = paired_difference(-differences[rng.permutation(3)][:, rng.permutation(7)])
    assert (other.mean, other.half) == pytest.approx((-found.mean, found.half))


@pytest.mark.parametrize("n_seeds", [2, 3])
@pytest.mark.parametrize(
    ("of_seeds", "of_mixtures", "of_both"), [(0.2, 0.5, 0.5), (0.0, 1.0, 0.2), (0.3, 0.0, 0.0), (0.0, 0.0, 1.0)]
)
def test_the_interval_holds_the_true_difference_as_often_as_it_says(n_seeds, of_seeds, of_mixtures, of_both):
    """Seeds, mixtures and both together have effects of their own."""
    rng = np.random.default_rng(1)
    held = []
    for _ in range(1000):
        differences = 0.5 + of_seeds * rng.normal(size=(n_seeds, 1)) + of_mixtures * rng.normal(size=(1, 40))
        found = paired_difference(differences + of_both * rng.normal(size=(n_seeds, 40)))
        held.append(abs(found.mean - 0.5) <= found.half)
    assert np.mean(held) > 0.94  # of 0.95, with the spread of 1000 draws


@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros((0, 3)), np.array([[np.nan, 1.0]]), np.array([[np.inf]])])
def test_what_is_no_table_of_differences_is_refused(wrong):
    with pytest.raises(ValueError, match=r"differences must be finite, of shape \[seeds, mixtures\], got shape"):
        paired_difference(wrong)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Difference(0.61, 0.26, 3, 9), "better by 0.61 ± 0.26 dB"),
        (Difference(-0.61, 0.26, 3, 9), "worse by 0.61 ± 0.26 dB"),
        (Difference(0.05, 0.121, 3, 9), "no difference seen: within ±0.18 dB"),
        (Difference(-0.05, 0.12, 3, 9), "no difference seen: within ±0.17 dB"),
        (Difference(0.2, 0.2, 3, 9), "no difference seen: within ±0.40 dB"),
        (Difference(0.61, 0.26, 1, 9), "better by 0.61 ± 0.26 dB, of one seed"),
        (Difference(0.0, 0.0, 3, 9), "no difference seen: within ±0.00 dB"),
        (Difference(0.3, math.nan, 1, 1), "not known: one mixture of one seed"),
    ],
)
def test_a_verdict_is_in_words(found, words):
    assert verdict(found) == words
