"""SNR of every pair where some targets are silent: an estimate of a silent target must be silent too."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from asteroid_stab.losses.pairwise import check_signals, full_precision, upcast


class PairwiseNegInactiveSNR(_Loss):
    """Thresholded negative SNR of every pair; a silent target asks for a silent estimate.

    For training a model of J outputs on mixtures of 1 to J sources, whose missing sources are zeros. SDR losses have
    no value for a silent target and leave its estimate alone, which may then repeat a speaker.

    With s a target, ŝ an estimate, x the sum of the item's targets and τ = 10^(-max_snr_db / 10),

        active s:  10 log10(‖s − ŝ‖² / ‖s‖² + τ)
        silent s:  10 log10(‖ŝ‖² / ‖x‖² + τ), times silent_weight

    both from -max_snr_db up, in dB; lower is better. An item of which all targets are silent is not
    finite and has no loss. Signals keep their mean; float16 and bfloat16 are computed in float32.

    Args:
        max_snr_db: SNR beyond which a pair's loss hardly changes; also the level below the mixture down to which the
            estimate of a silent target is pressed.
        silent_weight: factor of the losses of silent targets. Where mixtures of few sources are many, silence is learnt
            first and a smaller factor leaves more to the separation.

    Shapes:
        est_targets: [B, J, T]; targets: [B, J, T]; returns: [B, J_est, J_src].

    Raises:
        ValueError: ``max_snr_db`` or ``silent_weight`` is no number above 0, or a shape is wrong.

    Example:
        >>> targets = torch.eye(3, 9).unsqueeze(0)
        >>> targets[0, 1] = 0.0  # two of three speak
        >>> est = targets[:, [2, 0, 1]]  # estimate 0 is target 2, 1 is 0, 2 is silent
        >>> pw = PairwiseNegInactiveSNR(max_snr_db=30)(est, targets)
        >>> pw.argmin(1), pw[0, 2, 1].round()  # the best estimate of each target; the silent pair
        (tensor([[1, 2, 0]]), tensor(-30.))

    References:
        Wisdom et al., "What's all the FUSS about free universal sound separation data?", ICASSP 2021, arXiv
        2011.00803, where both terms are log errors without the division: it adds a number to a target's losses, which
        changes neither gradient nor assignment, and makes them independent of the level. The paper's x is the
        mixture, which differs from the sum of the targets by the noise.
    """

    judges_silence = True

    def __init__(self, max_snr_db: float = 30.0, silent_weight: float = 1.0):
        super().__init__()
        for name, value in (("max_snr_db", max_snr_db), ("silent_weight", silent_weight)):
            if isinstance(value, bool) or not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a number above 0, got {value!r}")
        self.max_snr_db, self.silent_weight = float(max_snr_db), float(silent_weight)

    def forward(self, est_targets: Tensor, targets: Tensor) -> Tensor:
        check_signals(est_targets, targets)
        est, true = upcast(est_targets, targets)
        with full_precision(true.device):
            energy = true.square().sum(-1).unsqueeze(1)  # [B, 1, J_src]
            silent = energy == 0
            whole = true.sum(1).square().sum(-1).view(-1, 1, 1)
            est_energy = est.square().sum(-1).unsqueeze(2)  # [B, J_est, 1]
            # A target at a time, as ‖s − ŝ‖² by inner products loses the digits of a good estimate.
            errors = torch.stack([(est - s.unsqueeze(1)).square().sum(-1) for s in true.unbind(1)], -1)
            error = torch.where(silent, est_energy, errors)
            scale = torch.where(silent, whole, energy)
            tau = 10 ** (-self.max_snr_db / 10)
            loss = 10 * torch.log10(error / scale + tau)
            return torch.where(silent, self.silent_weight * loss, loss)
