"""Pairwise negative SDR by inner products: for finding assignments, and for losses that need every pair."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

SDR_TYPES = ("sisdr", "sdsdr", "snr")


@dataclass(frozen=True)
class SdrOptions:
    """Which SDR: the arguments of Asteroid's ``PairwiseNegSDR``.

    Args:
        sdr_type: ``sisdr`` (scale-invariant), ``sdsdr`` (scale-dependent) or ``snr``.
        zero_mean: subtract each signal's mean over time first.
        take_log: whether the values are decibels or plain ratios.
        eps: Asteroid's ``EPS``; a target with no more energy than this is silent and has no SDR.

    Raises:
        ValueError: ``sdr_type`` is none of the three.

    References:
        Le Roux et al., "SDR half-baked or well done", ICASSP 2019.
    """

    sdr_type: str = "sisdr"
    zero_mean: bool = True
    take_log: bool = True
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if self.sdr_type not in SDR_TYPES:
            raise ValueError(f"sdr_type must be one of {', '.join(SDR_TYPES)}, got {self.sdr_type!r}")

    def loss(self, signal: Tensor, noise: Tensor) -> Tensor:
        """Returns the negative SDR of energies, with EPS where Asteroid has it; lower is better."""
        ratio = signal / (noise + self.eps)
        return -10 * torch.log10(ratio + self.eps) if self.take_log else -ratio


SI_SDR = SdrOptions()


class Signals(NamedTuple):
    """Estimates and targets as the losses use them: float32 or wider, contiguous, without mean if the options say so.

    Attributes:
        est: [B, J, T] estimates.
        targets: [B, J, T] targets.
        est_energy: [B, J] energy of the estimates.
        target_energy: [B, J] energy of the targets.
        finite: [B] whether all values of an item, and their energies, are finite.
        silent: [B, J] whether a target has no energy.
    """

    est: Tensor
    targets: Tensor
    est_energy: Tensor
    target_energy: Tensor
    finite: Tensor
    silent: Tensor


def upcast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Returns the tensors, float16 and bfloat16 as float32: sums over thousands of samples need the bits."""
    return tuple(t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors)


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Computes float32 as float32: no autocast, no TensorFloat32 and no bfloat16 inside matrix products.

    With TensorFloat32 every SDR above 30 dB would be rounding noise.
    """
    matmul: Any = torch.backends.cuda.matmul if device.type == "cuda" else torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    with torch.autocast(device.type, enabled=False):
        if before not in ("tf32", "bf16"):
            yield
            return
        matmul.fp32_precision = "ieee"
        try:
            yield
        finally:
            matmul.fp32_precision = before


def check_signals(est_targets: Tensor, targets: Tensor) -> None:
    """Checks that estimates and targets have one shape [B, J, T].

    Raises:
        ValueError: names the shapes wanted and got.
    """
    if targets.ndim != 3:
        raise ValueError(f"targets must be [batch, n_src, time], got {list(targets.shape)}")
    if est_targets.shape != targets.shape:
        raise ValueError(f"est_targets must be shaped as targets, {list(targets.shape)}, got {list(est_targets.shape)}")


def prepare_signals(est_targets: Tensor, targets: Tensor, options: SdrOptions = SI_SDR) -> Signals:
    """Returns the :class:`Signals` of estimates and targets.

    The means are subtracted from the samples, not from the products: ⟨y, x⟩ − T·ȳ·x̄ would save two copies,
    and lose digits of the product where an offset is large.

    Args:
        est_targets: [B, J, T].
        targets: [B, J, T].
        options: which SDR.

    Raises:
        ValueError: a shape is wrong.
    """
    check_signals(est_targets, targets)
    dtype = torch.promote_types(torch.promote_types(est_targets.dtype, targets.dtype), torch.float32)
    est, targets = est_targets.to(dtype).contiguous(), targets.to(dtype).contiguous()
    if options.zero_mean:
        est = est - est.mean(-1, keepdim=True)
        targets = targets - targets.mean(-1, keepdim=True)
    est_energy = torch.linalg.vector_norm(est, dim=-1).square()
    target_energy = torch.linalg.vector_norm(targets, dim=-1).square()
    # A sum of squares is finite only if each of them is; torch.isfinite on the samples takes ten passes.
    finite = (est_energy.detach() + target_energy.detach()).sum(1) < torch.inf
    return Signals(est, targets, est_energy, target_energy, finite, target_energy.detach() <= options.eps)


def inner_products(signals: Signals) -> Tensor:
    """Returns ⟨estimate i, target j⟩ as [B, J_est, J_src]."""
    return torch.matmul(signals.est, signals.targets.mT)


def neg_sdr_matrix(signals: Signals, dot: Tensor, options: SdrOptions = SI_SDR) -> Tensor:
    """Returns the [B, J_est, J_src] losses of prepared signals and their inner products; differentiable."""
    x_energy = signals.target_energy.unsqueeze(1)
    y_energy = signals.est_energy.unsqueeze(2)
    gain = dot / (x_energy + options.eps)
    signal = x_energy if options.sdr_type == "snr" else gain.square() * x_energy
    if options.sdr_type == "sisdr":  # ‖y − a·x‖²
        noise = y_energy - gain * (2 * dot - gain * x_energy)
    else:  # ‖y − x‖²
        noise = y_energy - 2 * dot + x_energy
    return options.loss(signal, noise.clamp_min(0))  # rounding can leave a difference of equals below 0


def pairwise_neg_sdr(est_targets: Tensor, targets: Tensor, options: SdrOptions = SI_SDR) -> Tensor:
    """Returns the negative SDR of every pair: ``pw[b, i, j]`` is the loss of estimate i for target j.

    The values of Asteroid's ``PairwiseNegSDR`` in O(J·T) memory instead of O(J²·T): the noise energy is
    expanded into inner products, ‖y − a·x‖² = ‖y‖² − 2a⟨y, x⟩ + a²‖x‖², so no [B, J, J, T] tensor is made.
    The difference loses digits as the noise becomes small: in float32 it is accurate to 0.01 dB up to 30 dB, to 0.1
    dB up to 40 dB, and wrong above 50 dB. Use it to find assignments and for soft assignments; for losses and
    metrics of matched pairs use :func:`asteroid_stab.losses.matched.matched_neg_sdr`.

    float16 and bfloat16 are computed in float32, also under autocast; float64 stays. Differentiable by
    autograd. Pairs of a silent target hold Asteroid's plateau (+80 dB for ``eps`` 1e-8); non-finite signals
    give non-finite pairs.

    Args:
        est_targets: estimates.
        targets: targets.
        options: which SDR.

    Shapes:
        est_targets: [B, J, T]; targets: [B, J, T]; returns: [B, J_est, J_src].

    Raises:
        ValueError: a shape is wrong.

    Example:
        >>> targets = torch.eye(3, 9).unsqueeze(0)
        >>> est = targets[:, [2, 0, 1]] + 0.1  # estimate 0 is target 2, 1 is 0, 2 is 1
        >>> pw = pairwise_neg_sdr(est, targets)
        >>> pw.argmin(1)  # the best estimate of each target
        tensor([[1, 2, 0]])

    References:
        Le Roux et al., "SDR half-baked or well done", ICASSP 2019, eq. 4 to 6.
    """
    with full_precision(targets.device):
        signals = prepare_signals(est_targets, targets, options)
        return neg_sdr_matrix(signals, inner_products(signals), options)
