"""How LibriMix makes a mixture of utterances: its sample rate, noise as long as needed, clipping.

All functions give the samples that LibriMix's generator writes, before it rounds them to 16 bits.

References:
    - Cosentino, Pariente, Cornell, Deleforge, Vincent 2020, "LibriMix: An open-source dataset for
      generalizable speech separation", section 3.
"""

from __future__ import annotations

import numpy as np

SOURCE_RATE = 16_000  # of LibriSpeech and of WHAM's noise as LibriMix takes it, Hz
_FADE = SOURCE_RATE // 2 + 1  # length of the cross-fade where a noise starts again, samples
HIGHEST_SAMPLE = 1.0 - 2.0**-15  # the highest sample that 16 bits hold; the lowest is -1


def extend_noise(noise: np.ndarray, n_frames: int) -> np.ndarray:
    """Returns ``noise`` repeated to ``n_frames`` samples, float32, with a cross-fade at each repetition.

    The fades are the halves of a Hann window of one second at 16 kHz.

    Args:
        noise: ``[N]``, at 16 kHz.
        n_frames: length wanted.

    Raises:
        ValueError: the noise is not longer than the cross-fade, so that repeating it would not lengthen it.
    """
    if len(noise) >= n_frames:
        return noise[:n_frames]
    if len(noise) <= _FADE:
        raise ValueError(f"noise must be longer than {_FADE} samples to be repeated, got {len(noise)}")
    hann = np.hanning(2 * _FADE - 1)
    rise, fall = hann[:_FADE], hann[_FADE - 1 :]
    step = len(noise) - _FADE
    n_more = -(-(n_frames - len(noise)) // step)
    extended = np.empty(len(noise) + n_more * step)
    extended[: len(noise)] = noise
    for repetition in range(1, n_more + 1):
        # All samples so far are faded out: a noise shorter than two fades still carries the fade before.
        begin = repetition * step
        seam = slice(begin, begin + _FADE)
        extended[seam] = extended[seam] * fall + noise[:_FADE] * rise
        extended[begin + _FADE : begin + len(noise)] = noise[_FADE:]
    return extended[:n_frames].astype(np.float32)


def clip_16_bit(samples: np.ndarray) -> np.ndarray:
    """Cuts ``samples`` in place to the range that a 16-bit file holds, as in a generated corpus, and returns them.

    Example:
        >>> clip_16_bit(np.array([0.5, 1.5, -2.0])).tolist()
        [0.5, 0.999969482421875, -1.0]
    """
    if samples.size and (samples.max() > HIGHEST_SAMPLE or samples.min() < -1.0):
        np.clip(samples, -1.0, HIGHEST_SAMPLE, out=samples)
    return samples
