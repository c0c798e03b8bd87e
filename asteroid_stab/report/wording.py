"""Texts for the numbers on the page."""

from __future__ import annotations

import math
from collections.abc import Mapping

UNDEFINED = "–"  # for a value that does not exist, such as the switch ratio of the first epoch


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    """A value with a fixed number of decimals, or a dash if it is undefined.

    Example:
        >>> number(7.714), number(-0.5, 1, "dB"), number(-0.001), number(float("nan"))
        ('7.71', '−0.5 dB', '0.00', '–')
    """
    if value is None or math.isnan(value):
        return UNDEFINED
    rounded = value if math.isinf(value) else round(value, digits) + 0.0  # adding 0 makes -0.0 a plain zero
    text = f"{rounded:,.{digits}f}".replace("inf", "∞")
    return text.replace("-", "−") + (f" {unit}" if unit else "")


def percent(ratio: float | None, digits: int = 1) -> str:
    """A ratio in percent, or a dash if it is undefined.

    Example:
        >>> percent(0.0213), percent(None)
        ('2.1 %', '–')
    """
    return number(None if ratio is None else 100 * ratio, digits, "%") if ratio == ratio else UNDEFINED


def duration(seconds: float | None) -> str:
    """A time in its two largest units.

    Example:
        >>> duration(42.4), duration(175), duration(7265), duration(float("nan"))
        ('42 s', '2 min 55 s', '2 h 1 min', '–')
    """
    if seconds is None or math.isnan(seconds):
        return UNDEFINED
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{minutes} min {rest} s" if hours == 0 else f"{hours} h {minutes_left} min"


def count(n: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is 1.

    Example:
        >>> count(1, "mixture"), count(3000, "mixture")
        ('1 mixture', '3,000 mixtures')
    """
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def parameters(n: int | None) -> str:
    """A number of parameters in thousands or millions.

    Example:
        >>> parameters(312_450), parameters(5_050_000), parameters(750), parameters(None)
        ('312 k', '5.05 M', '750', '–')
    """
    if n is None:
        return UNDEFINED
    if n >= 1_000_000:
        return f"{n / 1_000_000:.2f} M"
    return f"{n / 1000:.0f} k" if n >= 1000 else str(n)


def plus_minus(metric: Mapping[str, float] | None) -> str:
    """Returns ``mean ± standard deviation`` of a metric in an evaluation's summary.

    Example:
        >>> plus_minus({"mean": 7.71, "std": 2.4}), plus_minus(None)
        ('7.71 ± 2.40', '–')
    """
    if metric is None or math.isnan(metric["mean"]):
        return UNDEFINED
    return f"{number(metric['mean'])} ± {number(metric['std'])}"
