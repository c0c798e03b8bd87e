"""Sound in a room: what microphones hear of signals, by FFT, and noise that is drawn for each of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

_BLOCK = 16_384  # samples of noise that are drawn together, so that any part of a signal is the same part of the noise


class Heard(NamedTuple):
    """Sound of several signals at microphones.

    Attributes:
        images: each signal at the reference microphone, ``[J, T]``.
        others: all signals together at each other microphone, ``[C - 1, T]``.
        targets: each signal at the reference microphone by its other response, ``[J, T]``.
    """

    images: np.ndarray
    others: np.ndarray
    targets: np.ndarray


def heard(signals: np.ndarray, responses: np.ndarray, targets: np.ndarray | None, n_samples: int) -> Heard:
    """Returns the last ``n_samples`` of signals as they are heard through impulse responses.

    One transform of each signal and of each response serves all of them. It is as long as the wanted samples and a
    response, since the samples that its ends would spoil are the ones that are not wanted.

    Args:
        signals: ``[J, H + T]``: T wanted samples, and H before them, either all that a response reaches back or all
            that there are.
        responses: from each signal to each microphone, the reference first, ``[J, C, L]``.
        targets: other responses to the reference, ``[J, L']``, at most as long; None: the images are the targets.
        n_samples: T.
    """
    longest = max(signals.shape[-1], n_samples + responses.shape[-1] - 1)
    n_fft = next_fast_len(longest, real=True)
    wanted = slice(signals.shape[-1] - n_samples, signals.shape[-1])
    spectra, filters = rfft(signals, n_fft), rfft(responses, n_fft)
    images = irfft(spectra * filters[:, 0], n_fft)[:, wanted]
    summed = sum(spectrum * of_mics for spectrum, of_mics in zip(spectra, filters[:, 1:], strict=True))
    others = irfft(summed, n_fft)[:, wanted] if responses.shape[1] > 1 else np.empty((0, n_samples), np.float32)
    other = images if targets is None else irfft(spectra * rfft(targets, n_fft), n_fft)[:, wanted]
    return Heard(images, others, other)


def white_noise(seed: tuple[int, ...], mics: tuple[int, ...], start: int, stop: int) -> np.ndarray:
    """Returns samples of white Gaussian noise of unit power, float32 ``[C, stop - start]``.

    Each microphone has its own, which does not depend on the other ones, nor on the part that is asked for.

    Args:
        seed: of the signal.
        mics: numbers of the microphones.
        start: first sample.
        stop: last sample and one.

    Example:
        >>> whole = white_noise((0,), (2, 1), 0, 40_000)
        >>> bool((white_noise((0,), (1,), 15_000, 33_000) == whole[1:, 15_000:33_000]).all())
        True
    """
    first, last = start // _BLOCK, -(-stop // _BLOCK)
    noise = np.empty((len(mics), (last - first) * _BLOCK), np.float32)
    for row, mic in zip(noise, mics, strict=True):
        for block in range(first, last):
            part = row[(block - first) * _BLOCK : (block - first + 1) * _BLOCK]
            np.random.default_rng((*seed, mic, block)).standard_normal(out=part, dtype=np.float32)
    return noise[:, start - first * _BLOCK : stop - first * _BLOCK]
