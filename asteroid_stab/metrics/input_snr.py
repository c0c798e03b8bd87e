"""Signal-to-noise ratio of a mixture: its sources against the rest of the mixture."""

from __future__ import annotations

import numpy as np

NOISELESS_DB = 60.0  # a rest below this level is rounding, of 16-bit files and of sums


def input_snr(mixture: np.ndarray, sources: np.ndarray) -> float:
    """Energy of the summed sources over the energy of the rest, in dB; ``nan`` without noise or without sources.

    With one source it is nearly the SI-SDR of the mixture. With several, the SI-SDR of the mixture is below 0 at any
    noise level, because each source is noise to the others.

    Args:
        mixture: the mixture.
        sources: its sources, without the noise.

    Shapes:
        - mixture [T]; sources [J, T].

    Example:
        >>> speech = np.array([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]])
        >>> noise = np.array([0.1, 0.1, 0.1, 0.1])
        >>> round(input_snr(speech.sum(0) + noise, speech), 3), input_snr(speech.sum(0), speech)
        (23.01, nan)
    """
    summed = sources.sum(0, dtype=np.float64)
    signal, noise = np.sum(summed**2), np.sum((mixture - summed) ** 2)
    if not (np.isfinite(noise) and signal > 0 and noise > signal * 10 ** (-NOISELESS_DB / 10)):
        return float("nan")
    return float(10 * np.log10(signal / noise))
