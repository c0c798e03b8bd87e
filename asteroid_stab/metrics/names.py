"""Names, labels, units and digits of the numbers that an evaluation holds: the one table of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MOST_DIGITS = 10


@dataclass(frozen=True)
class MetricInfo:
    """How a number is shown to a person.

    Args:
        label: its name.
        unit: its unit; empty for a bare number.
        digits: decimals, at most 10.

    Raises:
        ValueError: there are more decimals, or fewer than none.
    """

    label: str
    unit: str = ""
    digits: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.digits <= MOST_DIGITS:
            raise ValueError(f"digits must be from 0 to {MOST_DIGITS}, got {self.digits}")

    @property
    def title(self) -> str:
        """Label and unit, as the head of a column."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


@dataclass(frozen=True)
class FigureInfo(MetricInfo):
    """How a figure that a model reports of each item is shown; ``summary.json`` keeps it.

    Args:
        label: its name.
        unit: its unit; empty for a bare number.
        digits: decimals.
        meaning: explanation in a few words, shown in parentheses behind the label.
        most: the largest possible value, where there is one.
        is_cost: whether it measures what was computed, so that quality can be drawn against it; one figure of a model
            at most.
    """

    meaning: str = ""
    most: float | None = None
    is_cost: bool = False


ORACLES: Mapping[str, str] = {"delay_and_sum": "oracle delay-and-sum", "mvdr": "oracle MVDR"}
"""Beamformers that are given the sources, by the word of ``evaluate --oracle``, and their labels."""
METRICS: Mapping[str, MetricInfo] = {
    "si_sdr": MetricInfo("SI-SDR", "dB"),
    "sdr": MetricInfo("SDR", "dB"),
    "sir": MetricInfo("SIR", "dB"),
    "sar": MetricInfo("SAR", "dB"),
    "stoi": MetricInfo("STOI", digits=3),
    "estoi": MetricInfo("ESTOI", digits=3),
    "pesq": MetricInfo("PESQ"),
    "dnsmos": MetricInfo("DNSMOS"),
    "dnsmos_sig": MetricInfo("DNSMOS SIG"),
    "dnsmos_bak": MetricInfo("DNSMOS BAK"),
}
"""The metrics that can be measured, in the order of the tables."""

STANDARD = tuple(name for name in METRICS if name != "estoi" and not name.startswith("dnsmos"))
"""The metrics that are measured where none is chosen; the others are measured where they are asked for by name."""

INTELLIGIBILITY = tuple(name for name in METRICS if name.endswith("stoi"))
"""STOI and its extended form."""

COSTS: Mapping[str, MetricInfo] = {
    "n_parameters": MetricInfo("parameters", digits=0),
    "gmacs_per_s": MetricInfo("MACs for a second of sound", "G", 3),
    "real_time_factor": MetricInfo("real-time factor", digits=3),
}
"""The numbers that describe the cost of a model, in the order of the tables."""

INPUT_SNR = "input_snr"
"""Column of the mixtures' signal-to-noise ratio, which depends on no estimate."""

COUNTS = ("n_active", "n_active_estimates")
"""Columns of mixtures of a varying number of sources: how many are active, and how many of the estimates are."""

# The SAR of a noiseless mixture is infinite (bss_eval caps it at 100 dB), so its improvement means nothing.
MEANINGLESS = ("input_sar", "sar_i")

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)
"""Percentiles of every column, from low to high."""

NUMBERS = ("mean", "std", *(f"p{p}" for p in PERCENTILES))
"""Keys of a column's numbers in ``summary.json``, beside ``n``."""

_KNOWN = {**METRICS, INPUT_SNR.removeprefix("input_"): MetricInfo("SNR", "dB")}


def columns(metrics: Iterable[str]) -> list[str]:
    """The columns of some metrics: of the mixture (``input_m``), of the estimates (``m``), and improvement (``m_i``).

    Example:
        >>> columns(["stoi"])
        ['input_stoi', 'stoi', 'stoi_i']
    """
    return [name for metric in metrics for name in (f"input_{metric}", metric, f"{metric}_i")]


def column_info(name: str, figures: Mapping[str, FigureInfo] | None = None) -> MetricInfo:
    """How a column of an evaluation is shown; an unknown one keeps its own name.

    Args:
        name: the column.
        figures: the figures that the evaluated model reports.

    Example:
        >>> column_info("si_sdr_i").title, column_info("input_stoi").digits, column_info("wer").label
        ('SI-SDRi (dB)', 3, 'wer')
        >>> column_info("n_words", {"n_words": FigureInfo("words", digits=0)}).label
        'words'
    """
    if figures and name in figures:
        return figures[name]
    bare = name.removeprefix("input_").removesuffix("_i")
    known = _KNOWN.get(bare, MetricInfo(bare, digits=3))
    before, behind = "input " if name.startswith("input_") else "", "i" if name.endswith("_i") else ""
    return MetricInfo(f"{before}{known.label}{behind}", known.unit, known.digits)
