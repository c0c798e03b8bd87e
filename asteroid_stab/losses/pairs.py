"""Losses of pairs of signals from any of Asteroid's loss functions, safe for items that hold no numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from asteroid.losses.sdr import MultiSrcNegSDR, PairwiseNegSDR, SingleSrcNegSDR
from torch import Tensor

from asteroid_stab.losses.assignment import best_permutation
from asteroid_stab.losses.guard import check_shape, guarded
from asteroid_stab.losses.matched import matched_neg_sdr
from asteroid_stab.losses.pairwise import (
    SdrOptions,
    check_signals,
    full_precision,
    inner_products,
    neg_sdr_matrix,
    prepare_signals,
    upcast,
)

SDR_LOSSES = {"pw_mtx": PairwiseNegSDR, "pw_pt": SingleSrcNegSDR, "perm_avg": MultiSrcNegSDR}
"""Asteroid's SDR loss for each ``pit_from``."""


class Pairs(NamedTuple):
    """Losses of all pairs of an estimate and a source, with gradients, and the best permutation.

    Attributes:
        pw: [B, J_est, J_src]; 0 and without gradient for sources that have no loss.
        perm: [B, J] best permutation, see :class:`~asteroid_stab.losses.assignment.Assignment`.
        undefined: [B, J] 0 for sources that have a loss, ``nan`` for silent ones and ``inf`` for those of an item
            that is not finite.
    """

    pw: Tensor
    perm: Tensor
    undefined: Tensor

    def marked(self, loss: Tensor) -> Tensor:
        """``loss`` [B, J], with what :class:`~asteroid_stab.losses.assignment.Assignment` wants where there is none."""
        return torch.where(self.undefined == 0, loss, self.undefined)


def sdr_options(loss_func: Callable[..., Tensor], pit_from: str) -> SdrOptions | None:
    """The options of ``loss_func`` where it is the SDR loss that Asteroid has for ``pit_from``, else
    ``None``.

    A subclass is another loss, whatever it overrides.

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


def all_pairs(
    loss_func: Callable[..., Tensor], pit_from: str, est_targets: Tensor, targets: Tensor, kwargs: dict[str, Any]
) -> Pairs:
    """Every pair's loss, for the soft assignments, which need them all.

    Asteroid's SDR losses come from inner products, with the best permutation's pairs, which are the only ones that
    can be far above 30 dB, replaced by direct ones. float32 inside, also under autocast.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``.
        pit_from: ``pw_mtx`` or ``pw_pt``.
        est_targets: estimates, [B, J, ...].
        targets: targets, [B, J, ...].
        kwargs: keyword arguments of ``loss_func``.

    Raises:
        ValueError: the shapes do not fit, or ``loss_func`` gives another shape than it must.
    """
    options = sdr_options(loss_func, pit_from)
    if options is not None:
        return _sdr_pairs(est_targets, targets, options, kwargs, type(loss_func).__name__)
    n_items, n_src = targets.shape[:2]
    est, tgt = upcast(est_targets, targets)
    with full_precision(targets.device):
        pw, usable = guarded(
            lambda e, t: pair_losses(loss_func, pit_from, e, t, kwargs), est, tgt, (n_items, n_src, n_src)
        )
    usable = usable.view(-1, 1, 1)
    perm = best_permutation(torch.where(usable, pw, torch.nan))
    undefined = torch.zeros_like(pw[:, 0]).detach().masked_fill(~usable[:, 0], torch.inf)
    return Pairs(torch.where(usable, pw, 0.0), perm, undefined)


def _sdr_pairs(est_targets: Tensor, targets: Tensor, options: SdrOptions, kwargs: dict[str, Any], name: str) -> Pairs:
    check_signals(est_targets, targets)
    refuse_arguments(name, kwargs)
    with full_precision(targets.device):
        with torch.no_grad():
            signals = prepare_signals(est_targets, targets, options)
            undefined = torch.zeros_like(signals.target_energy).masked_fill(signals.silent, torch.nan)
            undefined = undefined.masked_fill(~signals.finite.unsqueeze(1), torch.inf)
            defined = (undefined == 0).unsqueeze(1)
            costs = neg_sdr_matrix(signals, inner_products(signals), options)
            perm = best_permutation(costs.masked_fill(~defined, torch.nan))
        # Masking what is not finite afterwards would not save the others' gradients: 0·inf is nan.
        if targets.device.type != "cpu" or not signals.finite.all():  # a GPU would have to be waited for
            keep = signals.finite.view(-1, 1, 1)
            est_targets, targets = torch.where(keep, est_targets, 0.0), torch.where(keep, targets, 0.0)
        signals = prepare_signals(est_targets, targets, options)
        pw = torch.where(defined, neg_sdr_matrix(signals, inner_products(signals), options), 0.0)
        direct = matched_neg_sdr(est_targets, targets, perm, options)
        direct = torch.where(undefined == 0, direct, 0.0)
        return Pairs(pw.scatter(1, perm.unsqueeze(1), direct.unsqueeze(1)), perm, undefined)


def losses_in_order(
    loss_func: Callable[..., Tensor], pit_from: str, est_targets: Tensor, targets: Tensor, kwargs: dict[str, Any]
) -> Tensor:
    """[B, J] losses of estimate j for source j; ``nan`` and ``inf`` as in ``Assignment``.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``.
        pit_from: ``pw_mtx`` or ``pw_pt``.
        est_targets: estimates in the order of the targets, [B, J, ...].
        targets: targets, [B, J, ...].
        kwargs: keyword arguments of ``loss_func``.

    Raises:
        ValueError: the shapes do not fit, or ``loss_func`` gives another shape than it must.
    """
    options = sdr_options(loss_func, pit_from)
    if options is not None:
        check_signals(est_targets, targets)
        refuse_arguments(type(loss_func).__name__, kwargs)
        return matched_neg_sdr(est_targets, targets, None, options)

    def compute(estimates: Tensor, sources: Tensor) -> Tensor:
        if pit_from == "pw_mtx":
            return pair_losses(loss_func, pit_from, estimates, sources, kwargs).diagonal(dim1=1, dim2=2)
        losses = [loss_func(e, t, **kwargs) for e, t in zip(estimates.unbind(1), sources.unbind(1), strict=True)]
        check_shape("loss_func", "[batch]", losses[0], (len(sources),))
        return torch.stack(losses, 1)

    est, tgt = upcast(est_targets, targets)
    with full_precision(targets.device):
        loss, usable = guarded(compute, est, tgt, tuple(targets.shape[:2]))
    return torch.where(usable.unsqueeze(1), loss, torch.inf)


def pair_losses(
    loss_func: Callable[..., Tensor], pit_from: str, est: Tensor, targets: Tensor, kwargs: dict[str, Any]
) -> Tensor:
    """[B, J_est, J_src] losses of ``loss_func``, which is called J² times for ``pw_pt``.

    Raises:
        ValueError: it gives another shape than it must.
    """
    n_items, n_src = targets.shape[:2]
    if pit_from == "pw_mtx":
        pw = loss_func(est, targets, **kwargs)
        check_shape("loss_func", "[batch, n_src, n_src]", pw, (n_items, n_src, n_src))
        return pw
    pairs = [[loss_func(e, t, **kwargs) for t in targets.unbind(1)] for e in est.unbind(1)]
    check_shape("loss_func", "[batch]", pairs[0][0], (n_items,))
    return torch.stack([torch.stack(row, 1) for row in pairs], 1)


def refuse_arguments(name: str, kwargs: dict[str, Any]) -> None:
    """Refuses keyword arguments for one of Asteroid's SDR losses, which take none.

    Raises:
        ValueError: there are some.
    """
    if kwargs:
        raise ValueError(f"{name} takes no keyword arguments, got {sorted(kwargs)}")


def best_order(
    loss_func: Callable[..., Tensor], pit_from: str, est_targets: Tensor, targets: Tensor, kwargs: dict[str, Any]
) -> Tensor:
    """[B, J] best permutation of finite signals, for a loss that does not need it; without gradients.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``.
        pit_from: ``pw_mtx`` or ``pw_pt``.
        est_targets: estimates, [B, J, ...].
        targets: targets, [B, J, ...].
        kwargs: keyword arguments of ``loss_func``.
    """
    options = sdr_options(loss_func, pit_from)
    with torch.no_grad(), full_precision(targets.device):
        if options is None:
            est, tgt = upcast(est_targets, targets)
            return best_permutation(pair_losses(loss_func, pit_from, est, tgt, kwargs))
        signals = prepare_signals(est_targets, targets, options)
        costs = neg_sdr_matrix(signals, inner_products(signals), options)
        return best_permutation(costs.masked_fill(signals.silent.unsqueeze(1), torch.nan))
