"""Multiple choice learning: every source takes its nearest estimate, softened by a temperature."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from asteroid_stab.losses.assignment import Assignment, pick
from asteroid_stab.losses.base_wrapper import PairwiseLossWrapper
from asteroid_stab.losses.pairs import PairLoss
from asteroid_stab.losses.pit_wrapper import best_assignment
from asteroid_stab.run.plan import RunPlan

_HARD = 1e-4  # up to this temperature the soft minimum is the minimum, as in the authors' code


class MCLLossWrapper(PairwiseLossWrapper):
    r"""The loss of each source with its nearest estimate, which may be another source's as well, mixed with PIT's.

    .. math:: L_j = a\, F_j + (1 - a)\, L^{PIT}_j, \qquad
              F_j = -T \log \sum_i \exp(-C_{ij} / T) \;\xrightarrow{T \to 0}\; \min_i C_{ij}

    with the costs C of giving estimate i to source j; a = ``mcl_weight``, T = ``temperature``. No bijection is asked
    for. At a = 0, the default, this is exact PIT to the bit. At a = 1 and T = 0 it is multiple choice learning (MCL),
    where an estimate that is nobody's nearest learns nothing: it is collapsed. At a temperature that falls during
    training it is annealed MCL, where every estimate learns of every source at first. Where the nearest estimates
    differ, MCL is PIT.

    The annealed loss of the paper is the sum of q_i C_ij with weights q, the softmin of the costs over T, that carry no
    gradient. The gradient of F is the same; its value is lower by T times the entropy of q. Up to T = 1e-4 the minimum
    is taken, as in the authors' code. The loss is the same in evaluation mode (the systems here validate with the exact
    assignment anyway).

    The loss is [B, J]; the permutation is the best one, on which switches are counted and estimates are evaluated.
    Figures, with a > 0: ``mcl_collapsed``, the mean number of an item's estimates that are nearest to no source (a
    source without a loss needs none); ``mcl_gap``, T times the entropy of q, in the unit of ``loss_func``;
    ``mcl_temperature``.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``; lower is better.
        mcl_weight: a, from 0 to 1.
        temperature: T, in the unit of ``loss_func`` (dB for SDR losses), at least 0.
        temperature_schedule: returns T for an epoch, counted from 0; ``None`` leaves ``temperature`` as it is.
        pit_from: ``pw_mtx`` or ``pw_pt``, see ``PITLossWrapper``.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> targets = torch.eye(3, 9).unsqueeze(0)
        >>> est = targets[:, [2, 0, 1]] + 0.1 * torch.linspace(-1, 1, 9)
        >>> est[:, 2] = torch.tensor([0, 0, 0, 0, 0, 1.0, -1.0, 0, 0])  # like no source: the other two take all
        >>> assigned = MCLLossWrapper(pairwise_neg_sisdr, mcl_weight=1.0).assign(est, targets)
        >>> assigned.perm, assigned.figures["mcl_collapsed"]
        (tensor([[1, 2, 0]]), tensor(1.))

    References:
        Perera, Derrida, Mariotte, Richard, Essid, "Multiple choice learning for efficient speech separation with many
        speakers", ICASSP 2025, arXiv 2411.18497; Perera et al., "Annealed multiple choice learning", NeurIPS 2024,
        arXiv 2407.15580.
    """

    def __init__(
        self,
        loss_func: Callable[..., Tensor],
        mcl_weight: float = 0.0,
        temperature: float = 0.0,
        temperature_schedule: Callable[[int], float] | None = None,
        pit_from: str = "pw_mtx",
    ):
        super().__init__(loss_func, pit_from)
        if not 0 <= mcl_weight <= 1:
            raise ValueError(f"mcl_weight must be from 0 to 1, got {mcl_weight}")
        self.mcl_weight, self.temperature_schedule = float(mcl_weight), temperature_schedule
        self.temperature = temperature
        self.set_epoch(0)  # fails now if the schedule returns no valid temperature

    @property
    def temperature(self) -> float:
        """The temperature, in the unit of ``loss_func``."""
        return self._temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        if not 0 <= value < math.inf:
            raise ValueError(f"temperature must be a number of at least 0, got {value}")
        self._temperature = float(value)

    def set_epoch(self, epoch: int) -> None:
        """Sets the schedule's ``temperature``."""
        if self.temperature_schedule is not None:
            self.temperature = self.temperature_schedule(epoch)

    def neutral(self, plan: RunPlan) -> str | None:
        """Returns which setting leaves plain PIT."""
        if not self.mcl_weight:
            return "mcl_weight=0 is plain PIT (loss.mcl_weight=1.0 gives each source its nearest estimate)"
        return "with one source there is one estimate to take" if plan.n_src == 1 else None

    def _assign(self, est_targets: Tensor, targets: Tensor, pair_loss: PairLoss, ids: Tensor | None) -> Assignment:
        weight, temperature = self.mcl_weight, self.temperature
        if not weight:
            return best_assignment(est_targets, targets, pair_loss)
        pairs = pair_loss.all(est_targets, targets)
        with torch.autocast(targets.device.type, enabled=False):
            costs, defined = pairs.pw, pairs.undefined == 0
            nearest = costs.detach().argmin(1)  # [B, J_src]
            if temperature > _HARD:
                scaled = -costs / temperature
                loss = -temperature * torch.logsumexp(scaled, 1)  # F, see the class
                softmin = scaled.detach().softmax(1)
                gap = (softmin * costs.detach()).sum(1) - loss.detach()  # T times the entropy of q
            else:
                loss = pick(costs, nearest)  # min over i of C_ij
                gap = torch.zeros_like(loss.detach())
            if weight < 1:
                loss = weight * loss + (1 - weight) * pick(costs, pairs.perm)
        figures = {
            "mcl_collapsed": collapsed(nearest, defined),
            "mcl_gap": torch.where(defined, gap, 0.0).sum() / defined.sum().clamp_min(1),
            "mcl_temperature": gap.new_full((), temperature),
        }
        return Assignment(pairs.marked(loss), pairs.perm, figures)


def collapsed(nearest: Tensor, defined: Tensor) -> Tensor:
    """Returns the mean number of estimates of an item that are nearest to no source, a scalar.

    A source without a loss needs no estimate, and an item with only such sources is left out.

    Args:
        nearest: index of the estimate that is nearest to each source.
        defined: sources that have a loss.

    Shapes:
        nearest: [B, J] int64; defined: [B, J] bool.

    Example:
        >>> nearest = torch.tensor([[1, 2, 0], [1, 1, 0], [2, 2, 2]])
        >>> collapsed(nearest, torch.tensor([[True, True, True], [True, True, True], [True, True, False]]))
        tensor(0.6667)
    """
    estimates = torch.arange(nearest.shape[1], device=nearest.device).view(1, -1, 1)
    taken = ((nearest.unsqueeze(1) == estimates) & defined.unsqueeze(1)).any(2).sum(1)
    return (defined.sum(1) - taken).sum() / defined.any(1).sum().clamp_min(1)
