"""Beamformers that are given the sources: what several microphones reach without a trained model.

Each source's mask over the spectrum of the reference microphone weighs the spatial covariances of the mixture, and
these give a filter for each frequency. Covariances, their conditioning and the MVDR filter are Asteroid's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from asteroid.dsp.beamforming import Beamformer, SoudenMVDRBeamformer, compute_scm, condition_scm
from torch import Tensor

WINDOW_S, N_HOPS = 0.064, 4
"""Length of the Hann window in s, of which a power of two in samples is taken, and steps in a window."""


def ideal_ratio_masks(mixture: Tensor, sources: Tensor) -> Tensor:
    """Returns each source's share of the magnitudes of all parts, which are the sources and the rest of the mixture.

    The rest is noise and what the targets leave out of the rooms' sound, such as late reverberation.

    Args:
        mixture: spectrum at the reference microphone.
        sources: spectra of the sources there.

    Shapes:
        - mixture ``[F, L]``, sources ``[J, F, L]``, both complex; returns ``[J, F, L]``, from 0 to 1.

    Example:
        >>> masks = ideal_ratio_masks(torch.tensor([[4j]]), torch.tensor([[[1j]], [[0j]], [[2j]]]))
        >>> masks.flatten().tolist()
        [0.25, 0.0, 0.5]

    References:
        ``ideal_ratio_mask`` of https://github.com/fgnt/pb_bss, with which SMS-WSJ's reference systems are measured
        (Drude, Heitkaemper, Boeddeker, Haeb-Umbach, arXiv 1910.13934). There the parts are summed over microphones;
        ours are at the reference, which is where corpora have the sources.
    """
    rest = mixture - sources.sum(0)
    total = sources.abs().sum(0) + rest.abs()
    return sources.abs() / total.clamp_min(torch.finfo(total.dtype).tiny)


def mvdr(mixture: Tensor, mask: Tensor) -> Tensor:
    """Returns the output of the MVDR beamformer in Souden's form, for the reference microphone.

    Args:
        mixture: spectra at the microphones, the reference first.
        mask: of the wanted source; 1 less it is the mask of all else.

    Shapes:
        - mixture ``[C, F, L]``, complex, mask ``[F, L]``; returns ``[F, L]``.

    References:
        Souden, Benesty, Affes, "On optimal frequency-domain multichannel linear filtering for noise reduction", IEEE
        Transactions on Audio, Speech, and Language Processing 18(2), 2010.
    """
    target, other = (_covariance(mixture, weight) for weight in (mask, 1 - mask))
    return SoudenMVDRBeamformer()(mixture[None], target, _solvable(other), ref_mic=0, eps=_tiny(mixture))[0]


def delay_and_sum(mixture: Tensor, mask: Tensor) -> Tensor:
    """Returns the mean over the microphones, each with the wanted source in phase with the reference.

    The phases are of the column of the reference in the mask's covariance: a delay for each frequency, which needs no
    geometry of the array. This is our reading of delay-and-sum; with one direction of sound it is the usual one.

    Args:
        mixture: spectra at the microphones, the reference first.
        mask: of the wanted source.

    Shapes:
        - mixture ``[C, F, L]``, complex, mask ``[F, L]``; returns ``[F, L]``.
    """
    phases = torch.angle(_covariance(mixture, mask)[:, :, 0])  # [1, C, F]
    steering = torch.polar(torch.full_like(phases, 1 / len(mixture)), phases)
    return Beamformer.apply_beamforming_vector(steering, mixture[None])[0]


BEAMFORMERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"delay_and_sum": delay_and_sum, "mvdr": mvdr}


def beamform(kind: str, mixture: Tensor, sources: Tensor, sample_rate: int) -> Tensor:
    """Returns the estimates of a beamformer whose masks are made from the sources.

    Args:
        kind: a key of :data:`BEAMFORMERS`.
        mixture: at several microphones, the reference first.
        sources: at the reference.
        sample_rate: in Hz.

    Shapes:
        - mixture ``[C, T]``, sources ``[J, T]``; returns ``[J, T]``, float32, in the order of the sources.

    Raises:
        ValueError: the mixture has one microphone.
    """
    if mixture.ndim != 2 or len(mixture) < 2:
        raise ValueError(f"mixture must be [C, T] with C > 1, got {list(mixture.shape)}")
    size = max(N_HOPS, 2 ** round(math.log2(WINDOW_S * sample_rate)))
    settings = {"n_fft": size, "hop_length": size // N_HOPS, "window": torch.hann_window(size, dtype=torch.float64)}
    # Zeros beyond the ends, not reflections, which a signal shorter than half a window does not have.
    heard, wanted = (
        torch.stft(x.double(), **settings, pad_mode="constant", return_complex=True) for x in (mixture, sources)
    )
    estimates = torch.stack([BEAMFORMERS[kind](heard, mask) for mask in ideal_ratio_masks(heard[0], wanted)])
    return torch.istft(estimates, **settings, length=mixture.shape[1]).float()


def _covariance(mixture: Tensor, weight: Tensor) -> Tensor:
    """Returns the sum over the frames of weighted outer products ``[1, C, C, F]``; no filter depends on its scale."""
    return compute_scm(mixture[None], weight[None, None].to(mixture.dtype), normalize=False)


def _solvable(covariance: Tensor) -> Tensor:
    """Returns a covariance that has an inverse: with a millionth of its mean power at each microphone, more than 0."""
    loaded = condition_scm(covariance.permute(0, 3, 1, 2))
    identity = torch.eye(loaded.shape[-1], dtype=loaded.dtype)
    return (loaded + _tiny(loaded) * identity).permute(0, 2, 3, 1)


def _tiny(values: Tensor) -> float:
    """Returns a number far below the power of any sound, whose inverse is finite."""
    return math.sqrt(torch.finfo(values.dtype).tiny)
