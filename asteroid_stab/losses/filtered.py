"""SDR of BSS Eval of matched pairs, batched and on any device: a figure of a training step, not a loss."""

from __future__ import annotations

import torch
from torch import Tensor

from asteroid_stab.losses.assignment import reorder
from asteroid_stab.precision import as_double, precise_dtype

FILTER_LENGTH = 512
MAX_DB = 100.0
# Added to the energy of unit signals: speech spans so little at 8 kHz that the correlations may be singular to
# rounding. The ratios change by less than 0.01 dB up to 60 dB.
_LOADING = 1e-10


@torch.no_grad()
def filtered_sdr(
    est_targets: Tensor, targets: Tensor, perm: Tensor | None = None, filter_length: int = FILTER_LENGTH
) -> Tensor:
    """Returns the SDR of BSS Eval of each source against the estimate given to it, in dB; higher is better.

    The distortion is what no filter of ``filter_length`` samples can make of the source. ``evaluate`` reports the same
    ratio as ``sdr``, to 0.01 dB (:func:`asteroid_stab.metrics.bss_eval.bss_eval`); values beyond ±100 dB are ±100 dB.
    Entries of a silent target are ``nan``, all entries of an item with a value that is not finite are ``inf``. A
    silent estimate has -100 dB. Computed in float64, without a gradient; on the CPU where the device has no float64.

    Args:
        est_targets: estimates.
        targets: targets.
        perm: index of the estimate given to each source; None: estimate j is given to source j.
        filter_length: number of delays of a source's filter, in samples.

    Shapes:
        est_targets: [B, J, T]; targets: [B, J, T]; perm: [B, J]; returns: [B, J], float64 where the device has it.

    Raises:
        ValueError: estimates and targets differ in their shapes.

    Example:
        >>> targets = torch.randn(1, 3, 4000, generator=torch.Generator().manual_seed(0))
        >>> est = targets[:, [2, 0, 1]].roll(5, -1) + 0.1 * targets  # 1 is source 0, 2 is source 1, each late
        >>> (filtered_sdr(est, targets, torch.tensor([[1, 2, 0]])) > 19).all()
        tensor(True)

    References:
        Vincent, Gribonval, Févotte, "Performance measurement in blind audio source separation", 2006.
        Scheibler, "SDR - medium rare with fast computations", ICASSP 2022.
    """
    if est_targets.shape != targets.shape or targets.ndim != 3:
        raise ValueError(
            f"estimates and targets must be of one shape [B, J, T], got {list(est_targets.shape)} and "
            f"{list(targets.shape)}"
        )
    y, x = as_double(est_targets), as_double(targets)
    finite = torch.isfinite(y.abs().sum((1, 2)) + x.abs().sum((1, 2))).view(-1, 1, 1)
    y, x = torch.where(finite, y, 0.0), torch.where(finite, x, 0.0)
    if perm is not None:
        y = reorder(y, perm.to(y.device))
    silent = torch.linalg.vector_norm(x, dim=-1) == 0
    x, y = (z / torch.linalg.vector_norm(z, dim=-1, keepdim=True).clamp_min(1e-300) for z in (x, y))
    n_fft = 1 << (x.shape[-1] + filter_length - 2).bit_length()
    x_hz, y_hz = torch.fft.rfft(x, n_fft), torch.fft.rfft(y, n_fft)
    lags = torch.fft.irfft(x_hz.abs().square(), n_fft)[..., :filter_length]  # [B, J, L]
    cross = torch.fft.irfft(x_hz.conj() * y_hz, n_fft)[..., :filter_length, None]  # [B, J, L, 1]
    order = torch.arange(filter_length, device=x.device)
    gram = lags[..., (order[:, None] - order).abs()]  # [B, J, L, L], Toeplitz
    # A silent target has a Gram matrix of zeros: the loading alone would be its energy.
    gram.diagonal(dim1=-2, dim2=-1).add_(torch.where(silent, 1.0, _LOADING).unsqueeze(-1))
    factor, _ = torch.linalg.cholesky_ex(gram)
    half = torch.linalg.solve_triangular(factor, cross, upper=False)
    share = half.square().sum((-2, -1))  # of the estimate's energy, in the span of the delayed source
    least = 10 ** (-MAX_DB / 10)
    share = share.clamp(least / (1 + least), 1 / (1 + least))
    sdr = 10 * torch.log10(share / (1 - share))
    sdr = sdr.masked_fill(silent, torch.nan).masked_fill(~finite[..., 0], torch.inf)
    return sdr.to(precise_dtype(targets.device)).to(targets.device)
