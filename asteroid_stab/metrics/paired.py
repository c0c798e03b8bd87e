"""Difference of two methods, measured with the same seeds on the same mixtures, with an interval."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95


class Difference(NamedTuple):
    """A mean difference with its interval of :data:`LEVEL`.

    Attributes:
        mean: mean over seeds and mixtures; above 0 where the method is better.
        half: half of the interval's width; nan where one seed and one mixture give none.
        n_seeds: number of seeds. With one of them the interval holds for other mixtures and not for other seeds.
        n_mixtures: number of mixtures.
    """

    mean: float
    half: float
    n_seeds: int
    n_mixtures: int

    @property
    def bound(self) -> float:
        """The farther end of the interval from 0: a difference, if there is one, lies within plus or minus this."""
        return abs(self.mean) + self.half

    @property
    def seen(self) -> bool:
        """Whether 0 lies outside the interval."""
        return abs(self.mean) > self.half


def paired_difference(differences: np.ndarray) -> Difference:
    """Mean of paired differences, with an interval by the bootstrap over seeds and mixtures.

    The bootstrap draws seeds and, independently of them, mixtures, because all seeds are measured on the same mixtures.
    Of S seeds it draws S - 1, and of N mixtures N - 1, with replacement, so that the variance of their means is the
    unbiased one also for the few seeds of a study. The variance over all such draws has a closed form, so none is made:

        A / (S - 1) + B / (N - 1) + C / ((S - 1) (N - 1)),

    with the variances of the seeds' means (A), of the mixtures' means (B), and of what is left without both (C), each
    divided by its number. The interval is the mean plus or minus the root of it times Student's quantile with S - 1
    degrees of freedom: with two seeds 12.7 of them, with three 4.3. It is mildly conservative, since C counts thrice.

    Args:
        differences: [S, N], the score of the method minus the score of the baseline, of each seed and mixture; finite.

    Raises:
        ValueError: they are not of two axes, empty, or not finite.

    Example:
        >>> found = paired_difference(np.array([[1.0, 3.0], [2.0, 4.0], [0.0, 2.0]]))
        >>> found.mean, round(found.half, 2), found.seen
        (2.0, 4.97, False)

    References:
        Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1(2), 2007: both sides of an array are
        drawn independently. The draws of S - 1 and N - 1, and Student's quantile, are ours.
    """
    differences = np.asarray(differences, dtype=np.float64)
    if differences.ndim != 2 or not differences.size or not np.isfinite(differences).all():
        raise ValueError(f"differences must be finite, of shape [seeds, mixtures], got shape {differences.shape}")
    n_seeds, n_mixtures = differences.shape
    mean = float(differences.mean())
    seeds = differences.mean(1) - mean
    mixtures = differences.mean(0) - mean
    left = differences - mean - seeds[:, None] - mixtures[None, :]
    of_seeds, of_mixtures = max(n_seeds - 1, 1), max(n_mixtures - 1, 1)  # of one alone, the variance is 0
    variance = (seeds**2).mean() / of_seeds + (mixtures**2).mean() / of_mixtures
    variance += (left**2).mean() / (of_seeds * of_mixtures)
    freedom = n_seeds - 1 if n_seeds > 1 else n_mixtures - 1
    half = math.nan if freedom == 0 else float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(variance)
    return Difference(mean, half, n_seeds, n_mixtures)


def verdict(found: Difference, unit: str = "dB", digits: int = 2) -> str:
    """A difference in words.

    Example:
        >>> verdict(Difference(0.05, 0.13, 3, 100)), verdict(Difference(-0.6, 0.2, 3, 100))
        ('no difference seen: within ±0.18 dB', 'worse by 0.60 ± 0.20 dB')
        >>> verdict(Difference(0.6, 0.2, 1, 100))
        'better by 0.60 ± 0.20 dB, of one seed'
    """
    if math.isnan(found.half):
        return "not known: one mixture of one seed"
    if found.seen:
        words = f"{'better' if found.mean > 0 else 'worse'} by {abs(found.mean):.{digits}f} ± {found.half:.{digits}f}"
    else:
        # Rounded up: the bound holds. Rounded before, as 0.05 + 0.13 is a little more than 0.18.
        words = f"no difference seen: within ±{math.ceil(round(found.bound * 10**digits, 6)) / 10**digits:.{digits}f}"
    return f"{words} {unit}" + (", of one seed" if found.n_seeds == 1 else "")
