"""How noisy a mixture is: its speech, or whatever is to be separated, against what it holds besides."""

from __future__ import annotations

import numpy as np

NOISELESS_DB = 60.0  # what is left above it is the rounding of files of 16 bits and of sums


def input_snr(mixture: np.ndarray, sources: np.ndarray) -> float:
    """Energy of the sources' sum over that of the rest of the mixture, in dB; ``nan`` without noise or without sources.

    Where one source is enhanced it is nearly the mixture's SI-SDR; where several are separated that is below 0
    whatever the noise, because each source is noise to the others.

    Args:
        mixture: the mixture.
        sources: what it holds, but for the noise.

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
