"""ProbPIT: a soft minimum over all permutations."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from asteroid_stab.errors import StabError
from asteroid_stab.losses.assignment import Assignment, all_permutations, permuted
from asteroid_stab.losses.base_wrapper import PairwiseLossWrapper
from asteroid_stab.losses.pairs import PairLoss
from asteroid_stab.run.plan import RunPlan

MAX_N_SRC = 7  # 7! = 5,040 permutations an item; 8! would be 40,320
_HARD = 1e-11  # below this gamma the soft minimum is the minimum, as in the authors' code


class ProbPITLossWrapper(PairwiseLossWrapper):
    r"""The soft minimum of the losses :math:`g_\pi` of all permutations: the permutation as a latent variable.

    .. math:: L = -\gamma \log \sum_\pi \exp(-g_\pi / \gamma), \qquad
              g_\pi = \frac1J \sum_j \text{loss}(\hat s_{\pi(j)}, s_j)

    ``gamma`` → 0 is PIT. The constant :math:`\gamma \log J!` of the uniform prior is left out, as in the paper, so L
    is at most PIT's loss. The paper's costs are squared errors summed over frames and speakers, and its best values
    (45 and 32) are in the same unit; for negative SI-SDR in dB, ``gamma`` is in dB of the mean over the sources. The
    paper's likelihood is Gaussian; using another loss than the squared error is our reading.

    The loss is [B], one number for an item; the permutation is the best one.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``; lower is better.
        gamma: temperature, in units of ``loss_func``, at least 0.
        pit_from: ``pw_mtx`` or ``pw_pt``, see ``PITLossWrapper``.

    Raises:
        ValueError: ``gamma`` is below 0 or infinite.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> targets = torch.eye(3, 9).unsqueeze(0)
        >>> est = targets[:, [2, 0, 1]] + 0.1 * torch.linspace(-1, 1, 9)
        >>> ProbPITLossWrapper(pairwise_neg_sisdr, gamma=10.0).assign(est, targets)
        Assignment(loss=tensor([-18.8546]), perm=tensor([[1, 2, 0]]))

    References:
        Yousefi, Khorram, Hansen, "Probabilistic permutation invariant training for speech separation", Interspeech
        2019, arXiv 1908.01768, eq. 5.
    """

    def __init__(self, loss_func: Callable[..., Tensor], gamma: float = 1.0, pit_from: str = "pw_mtx"):
        super().__init__(loss_func, pit_from)
        if not 0 <= gamma < math.inf:
            raise ValueError(f"gamma must be a number of at least 0, got {gamma}")
        self.gamma = float(gamma)

    def check(self, plan: RunPlan) -> None:
        """Checks that there are at most 7 sources."""
        _check_n_src(plan.n_src)

    def _assign(self, est_targets: Tensor, targets: Tensor, pair_loss: PairLoss, ids: Tensor | None) -> Assignment:
        n_src = targets.shape[1]
        _check_n_src(n_src)
        pairs = pair_loss.all(est_targets, targets)
        with torch.autocast(targets.device.type, enabled=False):
            defined = pairs.undefined == 0
            # A source without a loss costs 0 with every estimate: it does not influence the result, but each
            # permutation of the others is counted once for each of its places, a constant that must not count.
            losses = permuted(pairs.pw, all_permutations(n_src, targets.device)).sum(-1)
            losses = losses / defined.sum(1, keepdim=True).clamp_min(1)  # g, eq. (5)
            loss = _soft_minimum(losses, self.gamma)
            n_blind = (~defined).sum(1).to(loss)
            loss = loss + self.gamma * torch.lgamma(n_blind + 1)  # log of (their number)!
        return Assignment(torch.where(defined.any(1), loss, pairs.undefined.sum(1)), pairs.perm)


def _check_n_src(n_src: int) -> None:
    if n_src > MAX_N_SRC:
        raise StabError(
            f"ProbPIT sums over n_src! permutations: n_src must be at most {MAX_N_SRC}, got {n_src}; "
            "SinkPITLossWrapper and ExactPITLossWrapper (the Hungarian algorithm) have no such limit"
        )


def _soft_minimum(losses: Tensor, gamma: float) -> Tensor:
    """``-gamma * log(sum(exp(-losses / gamma)))`` over the last axis."""
    if gamma < _HARD:
        return losses.amin(-1)
    return -gamma * torch.logsumexp(-losses / gamma, -1)
