"""The metrics of one separated mixture: one assignment by SI-SDR, and every metric under it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np
from scipy.optimize import linear_sum_assignment

from asteroid_stab.metrics.bss_eval import IllConditionedError, Ratios, bss_eval, reference_bss_eval
from asteroid_stab.metrics.dnsmos import RATE as DNSMOS_HZ
from asteroid_stab.metrics.dnsmos import SCORES as DNSMOS
from asteroid_stab.metrics.dnsmos import dnsmos
from asteroid_stab.metrics.levels import below_full_scale, matched
from asteroid_stab.metrics.measured import Measured
from asteroid_stab.metrics.names import INTELLIGIBILITY, METRICS, STANDARD, columns
from asteroid_stab.metrics.stoi import intelligibility

PESQ_MODES = {8000: "nb", 16000: "wb"}
# The PESQ code keeps 50 stretches of speech of at least 404 ms each in arrays that it overruns, silently or with a
# segmentation fault (observed at 300 s of read speech). One minute of speech has fewer.
PESQ_MAX_S = 60.0
SILENCE = 1e-8  # energy without the mean; below it the EPS of Asteroid's SI-SDR decides, not the signal


def measure(
    mixture: np.ndarray,
    sources: np.ndarray,
    estimates: np.ndarray,
    sample_rate: int,
    metrics: Sequence[str] = STANDARD,
) -> Measured:
    """The metrics of one separated mixture; a metric that fails is named and does not stop the others.

    The estimates are given to the sources so that the mean SI-SDR is highest (training minimises its negative), and
    every metric uses this one assignment. Asteroid's ``get_metrics`` with ``compute_permutation=True`` takes the
    highest mean SIR instead; the values differ where the two assignments do.
    The conventions follow the references: SI-SDR removes the mean of both signals (Asteroid's loss and pb_bss_eval do
    so too); SDR, SIR, SAR, STOI and PESQ keep it.

    A metric is undefined in these cases: every metric if a source is silent or a sample is not finite; all but SI-SDR,
    STOI and ESTOI if an estimate is silent (its SI-SDR is -80 dB, the reference's value); SIR if there is one source;
    STOI, ESTOI and PESQ if the signals are too short; PESQ if they are longer than a minute or hold no speech. DNSMOS,
    which hears no source, gets each estimate as loud as its source.

    Args:
        mixture: the mixture.
        sources: the true sources.
        estimates: the estimates, in any order.
        sample_rate: in Hz; PESQ needs 8000 (narrow band) or 16000 (wide band), DNSMOS 16000.
        metrics: some of :data:`~asteroid_stab.metrics.names.METRICS`.

    Shapes:
        - mixture [T]; sources and estimates [J, T].

    Raises:
        ValueError: the shapes do not fit, a metric is unknown, or PESQ or DNSMOS is asked for at another sample rate.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> sources = rng.standard_normal((3, 8000))
        >>> estimates = (sources + 0.1 * rng.standard_normal((3, 8000)))[[2, 0, 1]]
        >>> measured = measure(sources.sum(0), sources, estimates, 8000, ["si_sdr"])
        >>> measured.perm, round(measured.values["si_sdr"]), round(measured.values["input_si_sdr"])
        (array([1, 2, 0]), 20, -3)
    """
    if mixture.ndim != 1 or sources.ndim != 2 or sources.shape[1] != len(mixture):
        raise ValueError(
            f"mixture and sources must be [T] and [J, T], got {list(mixture.shape)}, {list(sources.shape)}"
        )
    if estimates.shape != sources.shape:
        raise ValueError(f"estimates must have the sources' shape {list(sources.shape)}, got {list(estimates.shape)}")
    for metric in metrics:
        if metric not in METRICS:
            raise ValueError(f"metrics must be some of {', '.join(METRICS)}, got {metric!r}")
    if "pesq" in metrics and sample_rate not in PESQ_MODES:
        raise ValueError(f"sample_rate must be 8000 or 16000 for PESQ, got {sample_rate}")
    if sample_rate != DNSMOS_HZ and any(metric in DNSMOS for metric in metrics):
        raise ValueError(f"sample_rate must be {DNSMOS_HZ} for DNSMOS, got {sample_rate}")

    mixture, sources, estimates = (np.asarray(x, dtype=np.float64) for x in (mixture, sources, estimates))
    perm = assign(sources, estimates)
    estimates = estimates[perm]
    output = dict.fromkeys(metrics, np.nan)
    given = dict.fromkeys(metrics, np.nan)
    failures: dict[str, str] = {}
    fallback, by_source = "", {}

    reason = _undefined(mixture, sources, estimates)
    if reason:
        return Measured(_flat(output, given), perm, dict.fromkeys(metrics, reason))
    if "si_sdr" in metrics:
        after, before = si_sdr(sources, estimates), si_sdr(sources, mixture[None])
        output["si_sdr"], given["si_sdr"] = after.mean(), before.mean()
        by_source = dict(zip(columns(["si_sdr"]), (before, after, after - before), strict=True))
    ratios = [metric for metric in metrics if metric in Ratios._fields]
    if ratios:
        try:
            found, fallback = _bss_eval(sources, estimates, mixture)
            for metric in ratios if len(sources) > 1 else [metric for metric in ratios if metric != "sir"]:
                output[metric], given[metric] = (getattr(x, metric).mean() for x in found)
            if "sir" in ratios and len(sources) == 1:
                failures["sir"] = "one source, which no other interferes with"
        except MetricError as error:
            failures.update(dict.fromkeys(ratios, str(error)))
    if kinds := [metric for metric in metrics if metric in INTELLIGIBILITY]:
        for metric, scores in intelligibility(sources, estimates, mixture, sample_rate, kinds).items():
            output[metric], given[metric] = (x.mean() for x in scores)
            if np.isnan(output[metric]):
                failures[metric] = "less than 400 ms of speech in a source"
    if "pesq" in metrics:
        try:
            output["pesq"] = fmean(pesq(*pair, sample_rate) for pair in zip(sources, estimates, strict=True))
            given["pesq"] = fmean(pesq(source, mixture, sample_rate) for source in sources)
        except MetricError as error:
            failures["pesq"] = str(error)
    if asked := [metric for metric in metrics if metric in DNSMOS]:
        try:
            heard, unseparated = (_dnsmos(x, sample_rate) for x in (matched(estimates, sources), mixture[None]))
            for metric in asked:
                output[metric], given[metric] = heard[metric].mean(), unseparated[metric].mean()
        except MetricError as error:
            failures.update(dict.fromkeys(asked, str(error)))
    return Measured(_flat(output, given), perm, failures, by_source, fallback)


class MetricError(ArithmeticError):
    """A metric is not defined for these signals, or its code gave up on them."""


def si_sdr(sources: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """SI-SDR in dB, higher is better, by pb_bss_eval: the mean of both signals is removed.

    Shapes:
        - sources [..., T]; estimates [..., T]; returns [...].
    """
    from pb_bss_eval.evaluation import si_sdr as reference

    return reference(sources, estimates)


def assign(sources: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Index of the estimate given to every source, by highest mean SI-SDR; exact for any number of sources.

    A silent source has no SI-SDR and takes an estimate that the other sources leave; several take them in ascending
    order. Signals that are not finite keep their order.

    Args:
        sources: true sources.
        estimates: estimates in any order.

    Shapes:
        - sources and estimates [J, T]; returns [J].

    Example:
        >>> assign(np.eye(3, 9), np.eye(3, 9)[[2, 0, 1]])
        array([1, 2, 0])
    """
    if not (np.isfinite(sources).all() and np.isfinite(estimates).all()):
        return np.arange(len(sources))
    x = sources - sources.mean(-1, keepdims=True)
    y = estimates - estimates.mean(-1, keepdims=True)
    x_energy, y_energy, inner = (x**2).sum(-1), (y**2).sum(-1), y @ x.T  # inner [J_est, J_src]
    # 1 / (1 + 10^(-SI-SDR/10)) from three inner products; in float64 the ranking holds far above 100 dB.
    signal = inner**2 / np.maximum(x_energy, SILENCE)
    noise = np.maximum(y_energy[:, None] - signal, 0.0)
    score = 10 * np.log10((signal + SILENCE) / (noise + SILENCE))
    score[:, silent := x_energy <= SILENCE] = 0.0
    perm = linear_sum_assignment(score.T, maximize=True)[1]
    perm[silent] = np.sort(perm[silent])
    return perm


def pesq(source: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """MOS-LQO by the pesq package: P.862.1 at 8 kHz, P.862.2 at 16 kHz; between 1 and 4.6, higher is better.

    Args:
        source: true source.
        estimate: signal to compare with it.
        sample_rate: 8000 or 16000, in Hz.

    Shapes:
        - source and estimate [T].

    Raises:
        MetricError: no speech was found, or the signals are shorter than 0.25 s or longer than a minute.
    """
    import pesq as package

    if len(source) > PESQ_MAX_S * sample_rate:
        raise MetricError(f"PESQ: {len(source) / sample_rate:.1f} s are longer than {PESQ_MAX_S:g} s")
    if not estimate.any():
        raise MetricError("PESQ: a silent estimate")  # the package makes NaN of it and trips over that
    try:
        return package.pesq(sample_rate, source, estimate, PESQ_MODES[sample_rate])
    except (package.PesqError, ValueError) as error:  # ValueError: a level so low that it makes NaN of it
        reason = error.args[0] if error.args else error
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise MetricError(f"PESQ: {text}") from error


def _dnsmos(signals: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
    if not signals.any(axis=-1).all():
        raise MetricError("DNSMOS: a silent signal")
    return dnsmos(np.stack([below_full_scale(signal) for signal in signals]), sample_rate)


def _bss_eval(sources: np.ndarray, estimates: np.ndarray, mixture: np.ndarray):
    for kind, signals in (("estimate", estimates), ("mixture", mixture[None])):
        if not signals.any(axis=-1).all():
            raise MetricError(f"SDR: a silent {kind}")
    try:
        return bss_eval(sources, estimates, mixture), ""
    except IllConditionedError as ill:
        try:
            return reference_bss_eval(sources, estimates, mixture), str(ill)
        except np.linalg.LinAlgError as error:
            raise MetricError(f"SDR: {error}") from error


def _undefined(mixture: np.ndarray, sources: np.ndarray, estimates: np.ndarray) -> str:
    """The reason why no metric is defined; empty if there is none."""
    for name, signals in (("mixture", mixture), ("source", sources), ("estimate", estimates)):
        if not np.isfinite(signals).all():
            return f"{name} with samples that are not finite"
    energy = ((sources - sources.mean(-1, keepdims=True)) ** 2).sum(-1)
    return "silent source" if (energy <= SILENCE).any() else ""


def _flat(output: dict[str, float], given: dict[str, float]) -> dict[str, float]:
    return {
        name: float(number)
        for metric, value in output.items()
        for name, number in zip(columns([metric]), (given[metric], value, value - given[metric]), strict=True)
    }
