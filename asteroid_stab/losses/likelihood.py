r"""Likelihood of separated signals whose error has an unknown variance, and the SNR improvement that it predicts.

.. math:: x \mid \hat x, \sigma^2 \sim N(\hat x, \sigma^2 I), \quad \sigma^2 \sim \text{InvGamma}(\alpha, \beta)
          \;\Rightarrow\; x \sim \text{St}_{2\alpha}(\hat x, \tfrac{\beta}{\alpha} I)

References:
    Olsen, Østergaard, Ulbæk, Nielsen, Lindrup, Jensen, Mørup, "Knowing when to quit: probabilistic early exits for
    speech separation", ICLR 2026, arXiv 2507.09768. We have its abstract and a summary with these two distributions;
    the formulas here are derived from them, and the number of an equation is not known to us.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from asteroid_stab.losses.assignment import best_permutation, reorder
from asteroid_stab.losses.lengths import Lengths, on_true_parts

DB_PER_NAT = 20 / math.log(10)
"""Times the mean negative log-likelihood of a sample: then twice the error's amplitude costs 6 dB, as in an SNR."""


def student_nll(error: Tensor, n_samples: int, alpha: Tensor, beta: Tensor) -> Tensor:
    r"""Negative logarithm of the Student-t density, in dB for each sample; lower is better.

    .. math:: \frac{20}{T \ln 10} \Bigl( \ln\Gamma(\alpha) - \ln\Gamma(\alpha + \tfrac T2) + \tfrac T2 \ln(2\pi\beta)
              + (\alpha + \tfrac T2) \ln\bigl(1 + \tfrac{\lVert x - \hat x \rVert^2}{2\beta}\bigr) \Bigr)

    Args:
        error: energy of the difference of target and estimate, of any shape.
        n_samples: T, samples of a signal.
        alpha: above 0, of a shape that goes with ``error``.
        beta: above 0, in the unit of the squared signals.

    Example:
        >>> one = torch.ones(())
        >>> wanted = -torch.distributions.StudentT(2.0, scale=1.0).log_prob(torch.tensor(0.5)) * DB_PER_NAT
        >>> bool(torch.isclose(student_nll(torch.tensor(0.25), 1, one, one), wanted))
        True
    """
    half = n_samples / 2
    constant = torch.lgamma(alpha) - torch.lgamma(alpha + half) + half * (2 * math.pi * beta).log()
    return DB_PER_NAT / n_samples * (constant + (alpha + half) * torch.log1p(error / (2 * beta)))


def layers_nll(layers: Tensor, targets: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood of each target, the mean over all layers, under one assignment for all of them.

    The assignment has the least sum over sources and layers. Sources that change their places between layers cost the
    paper's authors 1.2 to 1.4 dB.

    Args:
        layers: estimates of K layers.
        targets: sources, finite.
        alpha: of each estimate.
        beta: of each estimate, in the unit of the squared signals.

    Shapes:
        - layers: [K, B, J, T]; targets: [B, J, T]; alpha, beta: [K, B, J]; returns: [B, J] in dB, and the assignment
          [B, J].
    """
    n_samples = targets.shape[-1]
    dtype = torch.promote_types(layers.dtype, torch.float32)
    with torch.autocast(targets.device.type, enabled=False):
        layers, targets, alpha, beta = (values.to(dtype) for values in (layers, targets, alpha, beta))
        with torch.no_grad():
            errors = torch.cdist(layers, targets.expand_as(layers)).square()  # [K, B, J_est, J_src]
            perm = best_permutation(student_nll(errors, n_samples, alpha.unsqueeze(-1), beta.unsqueeze(-1)).sum(0))
        every = perm.repeat(len(layers), 1)

        def in_order(values: Tensor) -> Tensor:
            return reorder(values.flatten(0, 1), every).view(values.shape)

        error = (in_order(layers) - targets).square().sum(-1)
        nll = student_nll(error, n_samples, in_order(alpha), in_order(beta))
    return nll.mean(0), perm


def mixture_nll(layers: Tensor, sources: Tensor, alpha: Tensor, beta: Tensor, lengths: Lengths | None = None) -> Tensor:
    """:func:`layers_nll` of padded items, of which some sources may be broken; those count as silent.

    Args:
        layers: estimates of K layers.
        sources: the sources.
        alpha: of each output.
        beta: of each output.
        lengths: samples of each item that are no padding; None: there is no padding.

    Shapes:
        - layers: [K, B, J, T]; sources: [B, J, T]; alpha, beta: [K, B, S] with S of at least J; returns [B, J] in dB.
    """
    whole = torch.isfinite(sources).flatten(1).all(1)
    sources = sources.masked_fill(~whole.view(-1, 1, 1), 0.0)
    of_outputs = [values[..., : sources.shape[1]].movedim(0, -1) for values in (alpha, beta)]  # [B, J, K]

    def compute(est: Tensor, true: Tensor, of_alpha: Tensor, of_beta: Tensor) -> Tensor:
        return layers_nll(est.movedim(1, 0), true, of_alpha.movedim(-1, 0), of_beta.movedim(-1, 0))[0]

    return on_true_parts(compute, lengths, layers.movedim(0, 1), sources, *of_outputs)


def snri_probability(est: Tensor, mixture: Tensor, alpha: Tensor, beta: Tensor, snri_db: float) -> Tensor:
    r"""Probability that an estimate's SNR is better than the mixture's by ``snri_db`` or more.

    .. math:: \text{SNRi} \to 1 + z, \qquad
              z \sim \text{Gamma}\bigl(\alpha, \tfrac{\lVert \hat x - \tilde x \rVert^2}{\beta T}\bigr)

    for long signals: the error's energy is then T σ², and the error of the mixture x̃ is the sum of it and of the
    squared distance of the estimate from the mixture.

    Args:
        est: estimates.
        mixture: mixtures.
        alpha: of each estimate.
        beta: of each estimate, in the unit of the squared signals.
        snri_db: the improvement, in dB.

    Shapes:
        - est: [B, J, T]; mixture: [B, T]; alpha, beta: [B, J]; returns: [B, J].

    Example:
        >>> est, mixture = torch.zeros(1, 1, 8), torch.ones(1, 8)
        >>> alpha, beta = torch.full((1, 1), 1000.0), torch.full((1, 1), 100.0)  # a variance of 0.1, and sure of it
        >>> [round(snri_probability(est, mixture, alpha, beta, db).item(), 3) for db in (9.0, 10.414, 12.0)]
        [1.0, 0.496, 0.0]
    """
    dtype = torch.promote_types(est.dtype, torch.float32)
    with torch.autocast(est.device.type, enabled=False):
        distance = (est.to(dtype) - mixture.to(dtype).unsqueeze(1)).square().mean(-1)  # over T
        least = 10 ** (snri_db / 10) - 1  # of z
        if least <= 0:
            return torch.ones_like(distance)
        tiny = torch.finfo(dtype).tiny
        return torch.special.gammaincc(alpha.to(dtype), least * beta.to(dtype) / distance.clamp_min(tiny))
