"""Masked Acoustic Model with Alteration: reconstructing the clean signal where the input was masked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from asteroid_stab.errors import StabError
from asteroid_stab.losses.matched import matched_neg_sdr
from asteroid_stab.pretext.base import Pretext, spans
from asteroid_stab.transfer import send

LOSSES = ("si_sdr", "l1")
ACTIONS = ("zero", "replace", "keep")


class Alteration(NamedTuple):
    """Alteration of the frames and bands of one signal.

    Attributes:
        frames: [L] bool, the masked frames.
        action: for the masked frames: ``zero``; ``replace``: by other frames of the signal; ``keep``.
        shift: with ``replace``, distance to the other frames, in frames, continued from the end at the start.
        band: first band that is zeroed, and one past the last; equal where there is none.
        noisy: whether white noise is added.
    """

    frames: np.ndarray
    action: str
    shift: int
    band: tuple[int, int]
    noisy: bool


class MaskedReconstruction(Pretext):
    """Alters time spans and bands of the noisy input; the loss compares with the clean speech only where it did.

    TERA's policy, which the paper cites: runs of ``span`` frames, so many that they make up ``share`` of all frames if
    they do not overlap (they may); one random choice for each signal: the frames are removed (80%), replaced by other
    frames of the signal (10%), or kept (10%); a band of up to ``band_share`` of the bands is removed; with
    probability ``noise_prob`` white noise is added everywhere. A draw that masks no frame and no band is repeated.

    The rest is our reading. Removed parts become white noise of ``floor_level`` instead of zero: a separator multiplies
    its encoder's frames by a mask, and can turn zeros into zeros only. The short-time spectrum of the waveform is
    altered, because the model works on waveforms. The loss is the negative SI-SDR of the masked part: between the
    waveforms of the masked part of both spectra. ``l1`` is the mean absolute difference of the complex spectra over the
    masked part, divided by the mean magnitude of the clean speech: closer to TERA's loss, but because the phase counts,
    silence is hard to beat.

    Args:
        share: part of the frames in runs, 0 to 1.
        span: frames in a run.
        zero_prob: probability that the frames are removed.
        replace_prob: probability that the frames are replaced.
        band_share: largest part of the bands that is removed, 0 to 1.
        noise_prob: probability of white noise.
        noise_level: standard deviation of the white noise, over the signal's.
        floor_level: standard deviation of the noise that replaces removed parts, over the signal's.
        loss: ``si_sdr`` or ``l1``.
        n_fft: samples in a frame; 256 are 32 ms at 8 kHz.
        hop: samples from frame to frame; 80 are 10 ms at 8 kHz.

    Raises:
        StabError: an argument is out of its range; the signal is shorter than a run.

    Example:
        >>> task = MaskedReconstruction()
        >>> a = task.draw(300, np.random.default_rng(0))
        >>> a.frames.shape, a.action, bool(a.frames.any() or a.band[1] > a.band[0])
        ((300,), 'zero', True)

    References:
        Huang et al., "Stabilizing label assignment for speech separation by self-supervised pre-training", Interspeech
        2021, section 3.1 (MAMA); Liu, Li, Lee, "TERA", 2020, arXiv 2007.06028, for the policy.
    """

    def __init__(
        self,
        share: float = 0.15,
        span: int = 7,
        zero_prob: float = 0.8,
        replace_prob: float = 0.1,
        band_share: float = 0.2,
        noise_prob: float = 0.15,
        noise_level: float = 0.2,
        floor_level: float = 0.2,
        loss: str = "si_sdr",
        n_fft: int = 256,
        hop: int = 80,
    ):
        super().__init__()
        for name, value in (
            ("share", share), ("zero_prob", zero_prob), ("replace_prob", replace_prob), ("band_share", band_share),
            ("noise_prob", noise_prob), ("zero_prob + replace_prob", zero_prob + replace_prob),
        ):  # fmt: skip
            if not 0 <= value <= 1:
                raise StabError(f"{name} must be from 0 to 1, got {value}")
        if share == 0 and band_share == 0:
            raise StabError("share or band_share must be above 0: nothing would be masked")
        if loss not in LOSSES:
            raise StabError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
        if noise_level < 0 or floor_level < 0:
            raise StabError(f"noise_level and floor_level must be at least 0, got {noise_level} and {floor_level}")
        if span < 1 or n_fft < 2 or not 1 <= hop <= n_fft // 2:
            raise StabError(f"span must be at least 1 and hop from 1 to half of n_fft, got {span}, {hop} and {n_fft}")
        self.share, self.span, self.band_share = share, span, band_share
        self.zero_prob, self.replace_prob = zero_prob, replace_prob
        self.noise_prob, self.noise_level, self.floor_level = noise_prob, noise_level, floor_level
        self.loss, self.n_fft, self.hop = loss, n_fft, hop
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self._figures: dict[str, Tensor] = {}

    def draw(self, n_frames: int, generator: np.random.Generator) -> Alteration:
        """Draws the alteration of a signal of ``n_frames`` frames."""
        if n_frames < self.span:
            raise StabError(f"a signal must have at least {self.span} frames to be masked, got {n_frames}")
        n_bands = self.n_fft // 2 + 1
        n_runs = int(n_frames * self.share) // self.span
        if not n_runs and not int(n_bands * self.band_share):
            raise StabError(
                f"share={self.share:g} of {n_frames} frames is no run of span={self.span} and band_share="
                f"{self.band_share:g} of {n_bands} bands is none: nothing would ever be masked"
            )
        while True:
            starts = generator.choice(n_frames - self.span + 1, n_runs, replace=False)
            die = generator.random()
            action = ACTIONS[int(die >= self.zero_prob) + int(die >= self.zero_prob + self.replace_prob)]
            width = int(generator.integers(int(n_bands * self.band_share) + 1))
            first = int(generator.integers(n_bands - width + 1))
            shift = int(generator.integers(1, max(2, n_frames)))
            noisy = bool(generator.random() < self.noise_prob)
            frames = spans(n_frames, starts, self.span)
            if frames.any() or width:
                return Alteration(frames, action, shift, (first, first + width), noisy)

    def spectrum(self, signal: Tensor) -> Tensor:
        """The complex spectrum ``[B, F, L]`` of signals ``[B, T]``."""
        return torch.stft(signal.float(), self.n_fft, self.hop, window=self.window, return_complex=True)

    def _waveform(self, spectrum: Tensor, length: int) -> Tensor:
        return torch.istft(spectrum, self.n_fft, self.hop, window=self.window, length=length)

    def alter(
        self, mixture: Tensor, generators: Sequence[np.random.Generator]
    ) -> tuple[Tensor, Tensor, list[Alteration]]:
        """The altered signals ``[B, T]``, their masked places ``[B, F, L]``, and the alterations."""
        drawn = [self.draw(1 + mixture.shape[-1] // self.hop, generator) for generator in generators]
        noisy = mixture + self.noise_level * self._noise(mixture, generators) * self._flags(drawn, mixture)
        spectrum = self.spectrum(noisy)
        floor = self.floor_level * self.spectrum(self._noise(mixture, generators))
        frames = send(np.stack([a.frames for a in drawn]), mixture.device).unsqueeze(1)
        bands = torch.zeros((*spectrum.shape[:2], 1), dtype=torch.bool, device=mixture.device)
        altered = []
        for i, a in enumerate(drawn):
            bands[i, a.band[0] : a.band[1]] = True
            instead = {"zero": floor[i], "replace": spectrum[i].roll(a.shift, -1), "keep": spectrum[i]}[a.action]
            altered.append(torch.where(bands[i], floor[i], torch.where(frames[i], instead, spectrum[i])))
        signal = self._waveform(torch.stack(altered), mixture.shape[-1])
        return signal.to(mixture), frames | bands, drawn

    @staticmethod
    def _noise(mixture: Tensor, generators: Sequence[np.random.Generator]) -> Tensor:
        """White noise with the standard deviation of each signal."""
        noise = np.stack([generator.standard_normal(mixture.shape[-1]) for generator in generators])
        return send(torch.from_numpy(noise).to(mixture.dtype), mixture.device) * mixture.std(-1, keepdim=True)

    @staticmethod
    def _flags(drawn: Sequence[Alteration], mixture: Tensor) -> Tensor:
        return send(torch.tensor([[a.noisy] for a in drawn], dtype=mixture.dtype), mixture.device)

    def forward(
        self, model: nn.Module, mixture: Tensor, sources: Tensor, generators: Sequence[np.random.Generator]
    ) -> Tensor:
        signal, masked, drawn = self.alter(mixture, generators)
        est = model(signal)
        self._figures = {
            "masked_share": masked.float().mean(),
            "masked_frames": torch.full((), float(np.mean([a.frames.mean() for a in drawn])), device=mixture.device),
        }
        got, wanted = self.spectrum(est[:, 0]), self.spectrum(sources[:, 0])
        if self.loss == "si_sdr":
            got, wanted = (self._waveform(part * masked, mixture.shape[-1]) for part in (got, wanted))
            return matched_neg_sdr(got.unsqueeze(1), wanted.unsqueeze(1))[:, 0]
        # A silent target has magnitude 0: the quotient is infinite, or nan where the estimate is silent as well.
        error = ((got - wanted).abs() * masked).sum((1, 2)) / masked.sum((1, 2))
        return error / wanted.abs().mean((1, 2))

    def figures(self) -> dict[str, Tensor]:
        """The share of the spectrum that was masked, and of the frames."""
        return self._figures
