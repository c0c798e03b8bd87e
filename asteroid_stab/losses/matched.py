"""Negative SDR of matched pairs, with its gradient written out."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.losses.assignment import inverse, reorder
from asteroid_stab.losses.pairwise import SI_SDR, SdrOptions, Signals, full_precision, prepare_signals
from asteroid_stab.transfer import readable


def matched_neg_sdr(
    est_targets: Tensor,
    targets: Tensor,
    perm: Tensor | None = None,
    options: SdrOptions = SI_SDR,
    prepared: tuple[Signals, Tensor | None] | None = None,
) -> Tensor:
    """Returns the negative SDR of each source against the estimate given to it, exact at any SDR; lower is better.

    The values and gradients of Asteroid's ``PairwiseNegSDR`` on the matched pairs alone: two signals are kept
    for the gradient, where autograd would keep a dozen. Entries of a silent target are ``nan``, all entries of an item
    with a value that is not finite are ``inf``, and neither has a gradient, even if the incoming gradient is nan.

    float16 and bfloat16 are computed in float32, also under autocast; float64 stays. Differentiable once, in
    both arguments.

    Args:
        est_targets: estimates.
        targets: targets.
        perm: index of the estimate given to each source; ``None``: estimate j is given to source j.
        options: which SDR.
        prepared: signals and inner products of these same tensors, if a search has already computed them. Its
            estimates are overwritten.

    Shapes:
        est_targets: [B, J, T]; targets: [B, J, T]; perm: [B, J]; returns: [B, J].

    Raises:
        ValueError: a shape is wrong.
        RuntimeError: (in the backward) a second derivative is wanted (``create_graph=True``).

    Example:
        >>> targets = torch.eye(3, 9).unsqueeze(0)
        >>> est = targets[:, [2, 0, 1]]  # estimate 0 is target 2, 1 is 0, 2 is 1
        >>> est = est + 0.1 * torch.linspace(-1, 1, 9)
        >>> matched_neg_sdr(est, targets, torch.tensor([[1, 2, 0]])).round(decimals=1)
        tensor([[-14.3000, -13.8000, -13.6000]])

    References:
        Le Roux et al., "SDR half-baked or well done", ICASSP 2019, eq. 4 to 6.
    """
    with full_precision(targets.device):
        if prepared is None:
            with torch.no_grad():
                prepared = prepare_signals(est_targets, targets, options), None
        if perm is not None and perm.shape != targets.shape[:2]:
            raise ValueError(f"perm must be {list(targets.shape[:2])}, got {list(perm.shape)}")
        return _MatchedNegSDR.apply(est_targets, targets, perm, *prepared, options)


class _MatchedNegSDR(torch.autograd.Function):
    """Computes in the order of the estimates, so that the gradient of the estimates needs no reordering.

    With y the estimate, x the target, ε = eps, q = ‖x‖² + ε, a = ⟨y, x⟩ / q, and r = y − a·x (``sisdr``) or y
    − x,

        S = a²‖x‖² (``snr``: ‖x‖²),    N = ‖r‖²,    R = S / (N + ε),    loss = −10·log10(R + ε) or −R,

    both gradients are u·r + v·x with numbers u and v for each pair. r and x have no mean where y and x have
    none, so the subtraction of the mean needs no backward of its own.
    """

    @staticmethod
    def forward(
        ctx: Any,
        est_targets: Tensor,
        targets: Tensor,
        perm: Tensor | None,
        signals: Signals,
        dots: Tensor | None,
        options: SdrOptions,
    ) -> Tensor:
        y, x, energy, silent = signals.est, signals.targets, signals.target_energy, signals.silent
        source_of = None if perm is None else inverse(perm)
        if source_of is not None:
            x, energy = reorder(x, source_of), energy.gather(1, source_of)
            silent = silent.gather(1, source_of)
        if dots is None:
            dot = torch.linalg.vecdot(y, x)
        elif source_of is None:
            dot = dots.diagonal(dim1=1, dim2=2)
        else:
            dot = dots.gather(2, source_of.unsqueeze(2)).squeeze(2)
        q = energy + options.eps
        gain = dot / q
        step = gain.neg() if options.sdr_type == "sisdr" else torch.full_like(gain, -1.0)
        # The residual decides the digits, so it is made from the samples. Centred estimates are our own copy.
        out = y if options.zero_mean else None
        residual = torch.addcmul(y, x, step.unsqueeze(-1), out=out)
        noise = torch.linalg.vector_norm(residual, dim=-1).square()
        signal = energy if options.sdr_type == "snr" else gain.square() * energy
        loss = options.loss(signal, noise).masked_fill_(silent, math.nan)
        loss.masked_fill_(~signals.finite.unsqueeze(1), math.inf)
        if any(ctx.needs_input_grad):
            undefined = loss - loss != 0
            ctx.save_for_backward(residual, x, q, energy, gain, signal, noise, undefined, perm, source_of)
            ctx.options, ctx.dtypes = options, (est_targets.dtype, targets.dtype)
        return loss if perm is None else loss.gather(1, perm)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # autograd does not see how the numbers below depend on the signals
            raise RuntimeError("matched_neg_sdr is differentiable once: create_graph must be False, got True")
        residual, x, q, energy, gain, signal, noise, undefined, perm, source_of = ctx.saved_tensors
        options, (est_dtype, targets_dtype) = ctx.options, ctx.dtypes
        if source_of is not None:
            grad = grad.gather(1, source_of)
        noise_eps = noise + options.eps
        ratio = signal / noise_eps
        of_ratio = grad * -2
        if options.take_log:
            of_ratio = of_ratio * (10 / math.log(10)) / (ratio + options.eps)
        of_signal = of_ratio / noise_eps  # 2·∂/∂S
        of_noise = -of_signal * ratio  # 2·∂/∂N
        relative = energy / q  # 1 but for EPS
        part = of_signal * gain * relative
        leak = gain * (options.eps / q)  # ⟨r, x⟩ / q: EPS in q leaves a trace of x in r
        of_est = of_targets = None
        if ctx.needs_input_grad[0]:
            along = {"sisdr": part - of_noise * leak, "sdsdr": part, "snr": None}[options.sdr_type]
            of_est = _combine(of_noise, residual, along, x, undefined).to(est_dtype)
        if ctx.needs_input_grad[1]:
            if options.sdr_type == "sisdr":
                across = part - of_noise * (gain + leak)
                along = gain * (of_signal * leak + of_noise * leak)
            elif options.sdr_type == "sdsdr":
                across, along = part - of_noise, part * (1 - 2 * gain) + of_signal * gain.square()
            else:
                across, along = -of_noise, of_signal
            of_targets = _combine(across, residual, along, x, undefined).to(targets_dtype)
            if perm is not None:
                of_targets = reorder(of_targets, perm)
        return of_est, of_targets, None, None, None, None


def _combine(across: Tensor, residual: Tensor, along: Tensor | None, x: Tensor, undefined: Tensor) -> Tensor:
    """Returns across·residual + along·x for each pair, exactly zero where the loss is undefined."""
    if along is None:
        out = residual * across.unsqueeze(-1)
    else:
        out = (x * along.unsqueeze(-1)).addcmul_(residual, across.unsqueeze(-1))
    # 0·nan is nan. Reading the mask is free on the CPU and would stall a GPU.
    if not readable(out) or undefined.any():
        out.masked_fill_(undefined.unsqueeze(-1), 0.0)
    return out
