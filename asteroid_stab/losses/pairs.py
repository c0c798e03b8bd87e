"""Losses of pairs of signals from any of Asteroid's loss functions, safe beside items that are not finite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from asteroid.losses.sdr import MultiSrcNegSDR, PairwiseNegSDR, SingleSrcNegSDR
from torch import Tensor

from asteroid_stab.losses.assignment import best_permutation
from asteroid_stab.losses.guard import check_shape, check_sources, guarded
from asteroid_stab.losses.matched import matched_neg_sdr
from asteroid_stab.losses.pairwise import (
    SI_SDR,
    SdrOptions,
    check_signals,
    full_precision,
    inner_products,
    neg_sdr_matrix,
    prepare_signals,
    upcast,
)
from asteroid_stab.transfer import readable

SDR_LOSSES = {"pw_mtx": PairwiseNegSDR, "pw_pt": SingleSrcNegSDR, "perm_avg": MultiSrcNegSDR}
"""Asteroid's SDR loss for each ``pit_from``."""


class Pairs(NamedTuple):
    """Losses of all pairs of an estimate and a source, with gradients, and the best permutation.

    Attributes:
        pw: [B, J_est, J_src]; 0 and without gradient for sources that have no loss.
        perm: [B, J] best permutation, see :class:`~asteroid_stab.losses.assignment.Assignment`.
        undefined: [B, J] 0 for sources that have a loss, ``nan`` for silent sources and ``inf`` for the sources of an
            item that is not finite.
    """

    pw: Tensor
    perm: Tensor
    undefined: Tensor

    def marked(self, loss: Tensor) -> Tensor:
        """Returns ``loss`` [B, J] with the ``nan`` and ``inf`` of ``undefined`` where a source has no loss."""
        return torch.where(self.undefined == 0, loss, self.undefined)


def sdr_options(loss_func: Callable[..., Tensor], pit_from: str) -> SdrOptions | None:
    """Returns the options of ``loss_func`` if it is the SDR loss that Asteroid has for ``pit_from``, else ``None``.

    A subclass counts as another loss, even if it overrides nothing.

    Example:
        >>> from asteroid.losses import pairwise_neg_snr
        >>> sdr_options(pairwise_neg_snr, "pw_mtx")
        SdrOptions(sdr_type='snr', zero_mean=True, take_log=True, eps=1e-08)
        >>> sdr_options(print, "pw_mtx") is None
        True
    """
    if type(loss_func) is not SDR_LOSSES[pit_from]:
        return None
    if pit_from == "pw_pt" and loss_func.reduction != "none":  # type: ignore[attr-defined]
        return None
    sdr: Any = loss_func
    return SdrOptions(sdr.sdr_type, sdr.zero_mean, sdr.take_log, sdr.EPS)


@dataclass(frozen=True, eq=False)
class PairLoss:
    """A loss function of Asteroid's kind with its keyword arguments, to be computed on pairs of signals.

    All methods take estimates and sources [B, J, ...], compute float16 and bfloat16 in float32, also under autocast,
    and raise ``ValueError`` if ``loss_func`` returns another shape than its ``pit_from`` requires.

    Args:
        loss_func: the loss; lower is better.
        pit_from: what ``loss_func`` computes: ``pw_mtx``, ``pw_pt`` or ``perm_avg``, see ``PITLossWrapper``. The
            methods for pairs need one of the first two.
        kwargs: keyword arguments of ``loss_func``.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> pair_loss = PairLoss(pairwise_neg_sisdr, "pw_mtx")
        >>> targets = torch.eye(3, 9).unsqueeze(0)
        >>> pair_loss.best_order(targets[:, [2, 0, 1]], targets)
        tensor([[1, 2, 0]])
        >>> pair_loss.all(targets[:, [2, 0, 1]], targets).pw.shape, pair_loss.is_neg_si_sdr
        (torch.Size([1, 3, 3]), True)
    """

    loss_func: Callable[..., Tensor]
    pit_from: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> SdrOptions | None:
        """Options of the loss if it is one of Asteroid's SDR losses, which are computed by our own code; else None."""
        return sdr_options(self.loss_func, self.pit_from)

    @property
    def is_neg_si_sdr(self) -> bool:
        """Whether the loss of each source is its negative SI-SDR with Asteroid's default options."""
        return self.pit_from != "perm_avg" and self.options == SI_SDR

    def check(self, est_targets: Tensor, targets: Tensor) -> None:
        """Checks that the loss can be computed on these signals.

        Raises:
            ValueError: the shapes do not fit, or there are keyword arguments for an SDR loss, which takes none.
        """
        check_sources(est_targets, targets)
        if self.options is None:
            return
        check_signals(est_targets, targets)
        if self.kwargs:
            name = type(self.loss_func).__name__
            raise ValueError(f"{name} takes no keyword arguments, got {sorted(self.kwargs)}")

    def matrix(self, est_targets: Tensor, targets: Tensor) -> Tensor:
        """Returns the [B, J_est, J_src] losses as ``loss_func`` computes them; J² calls for ``pw_pt``."""
        n_items, n_src = targets.shape[:2]
        if self.pit_from == "pw_mtx":
            pw = self.loss_func(est_targets, targets, **self.kwargs)
            check_shape("loss_func", "[batch, n_src, n_src]", pw, (n_items, n_src, n_src))
            return pw
        pairs = [[self.loss_func(e, t, **self.kwargs) for t in targets.unbind(1)] for e in est_targets.unbind(1)]
        check_shape("loss_func", "[batch]", pairs[0][0], (n_items,))
        return torch.stack([torch.stack(row, 1) for row in pairs], 1)

    def all(self, est_targets: Tensor, targets: Tensor) -> Pairs:
        """Returns the loss of every pair, for soft assignments.

        Asteroid's SDR losses are computed from inner products, except for the pairs of the best permutation, which are
        computed directly: only these can be far above 30 dB.
        """
        options = self.options
        if options is not None:
            return _sdr_pairs(est_targets, targets, options)
        n_items, n_src = targets.shape[:2]
        est, tgt = upcast(est_targets, targets)
        with full_precision(targets.device):
            pw, usable = guarded(self.matrix, est, tgt, (n_items, n_src, n_src))
        usable = usable.view(-1, 1, 1)
        perm = best_permutation(torch.where(usable, pw, torch.nan))
        undefined = torch.zeros_like(pw[:, 0]).detach().masked_fill(~usable[:, 0], torch.inf)
        return Pairs(torch.where(usable, pw, 0.0), perm, undefined)

    def in_order(self, est_targets: Tensor, targets: Tensor) -> Tensor:
        """Returns the [B, J] losses of estimate j for source j, with ``nan`` and ``inf`` as in ``Assignment``."""
        options = self.options
        if options is not None:
            return matched_neg_sdr(est_targets, targets, None, options)
        est, tgt = upcast(est_targets, targets)
        with full_precision(targets.device):
            loss, usable = guarded(self._diagonal, est, tgt, tuple(targets.shape[:2]))
        return torch.where(usable.unsqueeze(1), loss, torch.inf)

    def _diagonal(self, est_targets: Tensor, targets: Tensor) -> Tensor:
        if self.pit_from == "pw_mtx":
            return self.matrix(est_targets, targets).diagonal(dim1=1, dim2=2)
        pairs = zip(est_targets.unbind(1), targets.unbind(1), strict=True)
        losses = [self.loss_func(e, t, **self.kwargs) for e, t in pairs]
        check_shape("loss_func", "[batch]", losses[0], (len(targets),))
        return torch.stack(losses, 1)

    def best_order(self, est_targets: Tensor, targets: Tensor) -> Tensor:
        """Returns the [B, J] best permutation of finite signals, without a graph."""
        options = self.options
        with torch.no_grad(), full_precision(targets.device):
            if options is None:
                est, tgt = upcast(est_targets, targets)
                return best_permutation(self.matrix(est, tgt))
            signals = prepare_signals(est_targets, targets, options)
            costs = neg_sdr_matrix(signals, inner_products(signals), options)
            return best_permutation(costs.masked_fill(signals.silent.unsqueeze(1), torch.nan))


def _sdr_pairs(est_targets: Tensor, targets: Tensor, options: SdrOptions) -> Pairs:
    with full_precision(targets.device):
        with torch.no_grad():
            signals = prepare_signals(est_targets, targets, options)
            undefined = torch.zeros_like(signals.target_energy).masked_fill(signals.silent, torch.nan)
            undefined = undefined.masked_fill(~signals.finite.unsqueeze(1), torch.inf)
            defined = (undefined == 0).unsqueeze(1)
            costs = neg_sdr_matrix(signals, inner_products(signals), options)
            perm = best_permutation(costs.masked_fill(~defined, torch.nan))
        # Masking what is not finite afterwards would not save the others' gradients: 0·inf is nan.
        if not (readable(targets) and signals.finite.all()):  # reading the mask would stall a GPU
            keep = signals.finite.view(-1, 1, 1)
            est_targets, targets = torch.where(keep, est_targets, 0.0), torch.where(keep, targets, 0.0)
        signals = prepare_signals(est_targets, targets, options)
        pw = torch.where(defined, neg_sdr_matrix(signals, inner_products(signals), options), 0.0)
        direct = matched_neg_sdr(est_targets, targets, perm, options)
        direct = torch.where(undefined == 0, direct, 0.0)
        return Pairs(pw.scatter(1, perm.unsqueeze(1), direct.unsqueeze(1)), perm, undefined)
