"""The sounds of the best, the median and the worst separated mixture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile as sf

from asteroid_stab.atomic import write_text
from asteroid_stab.errors import StabError
from asteroid_stab.metrics.evaluation import Evaluation, pick_examples
from asteroid_stab.metrics.levels import matched
from asteroid_stab.metrics.separated import Separate
from asteroid_stab.metrics.separation_metrics import assign
from asteroid_stab.run.layout import ExamplesLayout

PEAK = 0.95


def listenable(
    mixture: np.ndarray, sources: np.ndarray, estimates: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prepares the signals for listening side by side.

    The estimates are put in the order of their sources, each with the loudness and sign of its source (SI-SDR ignores
    the scale of an estimate; the estimate of a silent source keeps its own), and one gain for all signals keeps every
    peak below 0.95.

    Shapes:
        - mixture [T]; sources and estimates [J, T]; returns the same.

    Example:
        >>> sources = np.array([[3.0, 0, 0, -3], [0, 2, -2, 0], [1, 1, -1, -1]])
        >>> mixture, sources, estimates = listenable(sources.sum(0), sources, 5 * sources[[2, 0, 1]])
        >>> bool(np.allclose(estimates, sources)), round(float(abs(mixture).max()), 2)
        (True, 0.95)
    """
    estimates = matched(estimates[assign(sources, estimates)], sources)
    peak = max(float(np.abs(x).max()) for x in (mixture, sources, estimates))
    gain = min(1.0, PEAK / max(peak, np.finfo(np.float64).tiny))
    return gain * mixture, gain * sources, gain * estimates


def write_examples(evaluation: Evaluation, separate: Separate, sample_rate: int, place: ExamplesLayout) -> None:
    """Separates the best, the median and the worst mixture again and writes their sounds as 16-bit WAV.

    Args:
        evaluation: the evaluation whose rows are picked.
        separate: gives the estimates, as in the evaluation.
        sample_rate: in Hz.
        place: where the mixtures (at the reference microphone), their sources and estimates are written, and a list of
            them.
    """
    listed = []
    for kind, row in pick_examples(evaluation.rows).items():
        (found,) = separate([row["id"]])
        if found.fault:  # it could be measured before: its files or the device have changed since
            raise StabError(f"the sounds of {row['name']!r} cannot be written: {found.fault}")
        signals = listenable(*(x.double().numpy() for x in (found.mixture, found.sources, found.estimates)))
        _write(place.mixture(kind), signals[0], sample_rate)
        for path_of, tracks in ((place.source, signals[1]), (place.estimate, signals[2])):
            for j, track in enumerate(tracks, start=1):
                _write(path_of(kind, j), track, sample_rate)
        listed.append({"kind": kind, "id": row["id"], "name": row["name"], "si_sdr_i": row["si_sdr_i"]})
    write_text(place.listing, json.dumps(listed, indent=2) + "\n")


def _write(path: Path, signal: np.ndarray, sample_rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        sf.write(path, signal, sample_rate, subtype="PCM_16")
    except sf.LibsndfileError as error:  # a full disk
        raise OSError(f"{path.name}: {error}") from error
