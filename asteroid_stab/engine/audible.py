"""The noise of a training mixture, where there is any."""

from __future__ import annotations

from torch import Tensor

from asteroid_stab.metrics.input_snr import NOISELESS_DB


def audible(noise: Tensor, speech: Tensor) -> Tensor:
    """``noise``, and silence where it is 60 dB below the speech and more, which is rounding.

    Shapes:
        - noise and speech [B, T]; returns [B, T].
    """
    heard = noise.square().sum(1) > 10 ** (-NOISELESS_DB / 10) * speech.square().sum(1)
    return noise * heard.unsqueeze(1)
