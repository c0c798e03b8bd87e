"""SinkPIT: a doubly stochastic matrix in place of the permutation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from asteroid_stab.losses.assignment import Assignment
from asteroid_stab.losses.base_wrapper import PairwiseLossWrapper
from asteroid_stab.losses.pairs import PairLoss
from asteroid_stab.transfer import Arriving, readable

_CHECK_EVERY = 10  # pairs of normalisations; a check costs as much as two of them
_TOLERANCE = 1e-6  # error of the columns' sums below which more iterations change nothing in float32
_UNCONVERGED = 0.05  # error of a marginal from which on a warning is given


class SinkPITLossWrapper(PairwiseLossWrapper):
    r"""The loss under the soft assignment that Sinkhorn's iteration finds at inverse temperature ``beta``.

    .. math:: F_\beta = \frac1J \sum_{j,i} P_{ji} \Bigl(C_{ji} + \tfrac1\beta \log P_{ji}\Bigr), \qquad
              P = \lim \text{ of alternating normalisations of } \exp(-\beta C)

    with the costs C of giving estimate i to source j. The values and gradients of Asteroid's ``SinkPITLossWrapper``
    in training mode, item by item. At convergence :math:`F_\beta \le \text{PIT} \le \langle C, P\rangle / J`; the
    larger ``beta``, the closer all three, and the slower the iteration.

    Unlike Asteroid's, it is the same loss in evaluation mode (the systems here validate with the exact assignment
    anyway), and the iteration of an item ends early once it has converged, at the same count in any batch. If it has
    not converged, ``sinkhorn_error`` reports it at every step, and a warning the first time (on the CPU).

    The loss is [B, J], each source's part; the permutation is the best one. Figures: ``sinkhorn_error``, how far the
    worst marginal of an item's soft assignment is from 1, the mean over the items (0: converged); ``sinkhorn_gap``,
    ⟨C, P⟩ − F, the effect of the softness in units of ``loss_func``; ``sinkhorn_beta``.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``; lower is better.
        n_iter: normalisations at most, an even number.
        pit_from: ``pw_mtx`` or ``pw_pt``, see ``PITLossWrapper``.
        beta_schedule: returns ``beta`` for an epoch; ``None`` leaves the attribute ``beta`` unchanged, which is 10.

    Raises:
        ValueError: ``n_iter`` is odd or below 2, or ``beta`` is set to a value that is not above 0.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> loss_func = SinkPITLossWrapper(pairwise_neg_sisdr)
        >>> targets = torch.eye(3, 9).unsqueeze(0)
        >>> est = targets[:, [2, 0, 1]] + 0.1 * torch.linspace(-1, 1, 9)
        >>> loss, perm = loss_func.assign(est, targets)
        >>> loss.round(decimals=1), perm  # the pairs are far apart: the soft assignment is the hard one
        (tensor([[-14.3000, -13.8000, -13.6000]]), tensor([[1, 2, 0]]))

    References:
        Tachibana, "Towards listening to 10 people simultaneously: an efficient permutation invariant training of
        audio source separation using Sinkhorn's algorithm", ICASSP 2021, arXiv 2010.11871.
    """

    def __init__(
        self,
        loss_func: Callable[..., Tensor],
        n_iter: int = 200,
        pit_from: str = "pw_mtx",
        beta_schedule: Callable[[int], float] | None = None,
    ):
        super().__init__(loss_func, pit_from)
        if n_iter < 2 or n_iter % 2:
            raise ValueError(f"n_iter must be an even number of at least 2, got {n_iter}")
        self.n_iter = n_iter
        self.beta_schedule = beta_schedule
        self.beta = 10.0
        self.set_epoch(0)  # fails now if the schedule returns no valid beta
        self._warned = False

    @property
    def beta(self) -> float:
        """The inverse temperature, per unit of ``loss_func``."""
        return self._beta

    @beta.setter
    def beta(self, beta: float) -> None:
        if not 0 < beta < math.inf:
            raise ValueError(f"beta must be a number above 0, got {beta}")
        self._beta = float(beta)

    def set_epoch(self, epoch: int) -> None:
        """Sets the schedule's ``beta``."""
        if self.beta_schedule is not None:
            self.beta = self.beta_schedule(epoch)

    def _assign(self, est_targets: Tensor, targets: Tensor, pair_loss: PairLoss, ids: Tensor | None) -> Assignment:
        pairs = pair_loss.all(est_targets, targets)
        with torch.autocast(targets.device.type, enabled=False):
            costs = pairs.pw.mT  # [B, J_src, J_est]
            log_plan, errors = sinkhorn(costs, self.beta, self.n_iter)
            plan, entropy = log_plan.exp(), log_plan / self.beta
            loss = pairs.marked((plan * (costs + entropy)).sum(-1))
        self._warn_once(errors)
        figures = {
            "sinkhorn_error": errors.mean() if errors.numel() else errors.new_zeros(()),
            "sinkhorn_gap": -(plan * entropy).detach().sum(-1).mean(),
            "sinkhorn_beta": errors.new_full((), self.beta),
        }
        return Assignment(loss, pairs.perm, figures)

    def _warn_once(self, errors: Tensor) -> None:
        if not self._warned and readable(errors) and (errors > _UNCONVERGED).any():  # reading them would stall a GPU
            self._warned = True
            warnings.warn(
                f"Sinkhorn's iteration has not converged: after n_iter={self.n_iter} at beta={self.beta:g} a marginal "
                f"is off by {errors.max():.2f} (see train/sinkhorn_error; a larger n_iter or a smaller beta helps)",
                stacklevel=4,
            )


def sinkhorn(costs: Tensor, beta: float, n_iter: int = 200) -> tuple[Tensor, Tensor]:
    """Returns the log of the soft assignments, whose rows are exact, and the errors of the columns' sums.

    Each item stops at the first check that finds it converged, as it would alone.

    Args:
        costs: [B, N, N]; differentiable through the iterations.
        beta: inverse temperature.
        n_iter: normalisations at most, columns and rows in turn.

    Returns:
        [B, N, N] log-probabilities, and [B]: the largest ``|sum of a column − 1|`` of each item.

    Example:
        >>> costs = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
        >>> log_plan, errors = sinkhorn(costs, beta=2.0)
        >>> log_plan.exp().round(decimals=3), errors < 1e-5
        (tensor([[[0.8810, 0.1190],
                 [0.1190, 0.8810]]]), tensor([True]))
    """
    log_plan = -beta * costs
    done: Tensor | None = None
    all_done: Arriving | None = None
    for first in range(0, n_iter // 2, _CHECK_EVERY):
        n_pairs = min(_CHECK_EVERY, n_iter // 2 - first)
        log_plan = _normalised(log_plan, n_pairs, done)
        # On a GPU the host looks at a check while the next iterations are under way; they change no item that is done.
        if all_done is not None and all_done.read():
            break
        done = _column_errors(log_plan) < _TOLERANCE
        if not readable(done):
            all_done = Arriving(done.all())
        elif done.all():
            break
    return log_plan, _column_errors(log_plan)


def _normalised(log_plan: Tensor, n_pairs: int, done: Tensor | None) -> Tensor:
    """Returns the assignments after further normalisations of columns and rows; items that are done stay as they are.

    If all went on until the last one is done, an item's loss would depend on its neighbours in the batch, and so on how
    the items are dealt out to processes.
    """
    before = log_plan
    for _ in range(n_pairs):
        log_plan = log_plan - torch.logsumexp(log_plan, 1, keepdim=True)
        log_plan = log_plan - torch.logsumexp(log_plan, 2, keepdim=True)
    return log_plan if done is None else torch.where(done.view(-1, 1, 1), before, log_plan)


def _column_errors(log_plan: Tensor) -> Tensor:
    """Returns the largest ``|sum of a column − 1|`` of each assignment, [B]."""
    return log_plan.detach().logsumexp(1).expm1().abs().amax(-1)
