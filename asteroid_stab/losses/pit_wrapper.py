"""Exact permutation-invariant training, per item and for any number of sources."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from asteroid_stab.losses.assignment import (
    Assignment,
    all_permutations,
    best_permutation,
    item_loss,
    permuted,
    pick,
    reorder,
)
from asteroid_stab.losses.base_wrapper import AssignmentLossWrapper, as_asteroid
from asteroid_stab.losses.guard import check_shape, guarded
from asteroid_stab.losses.matched import matched_neg_sdr
from asteroid_stab.losses.pairs import PairLoss
from asteroid_stab.losses.pairwise import (
    SdrOptions,
    full_precision,
    inner_products,
    neg_sdr_matrix,
    prepare_signals,
    upcast,
)

MAX_FACTORIAL = 9  # sources; 10! losses of 10 sources are 145 MB an item


class ExactPITLossWrapper(AssignmentLossWrapper):
    """The loss under the best permutation: Asteroid's ``PITLossWrapper``, per item and for many sources.

    Replaces it without other changes, and is several times faster: same call, values and gradients. It adds:

    - :meth:`assign` returns the losses and the permutation of every item.
    - Any number of sources where the losses of the sources add up, that is without ``perm_reduce``.
    - For Asteroid's own SDR losses (``pairwise_neg_sisdr``, ``singlesrc_neg_snr``, ``multisrc_neg_sdsdr``, ...) the
      search uses inner products, and the loss is computed directly on the matched pairs.
    - float32 inside under AMP: float16 and bfloat16 signals are cast up and autocast is off.
    - Silent targets of these SDR losses, and items that hold a value that is not finite, have no loss and no gradient,
      and leave the others alone. With ``perm_reduce`` an item with a silent target has no loss as a whole.

    The permutation of an item without a loss is the identity.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``, item by item (no item's loss may depend on
            another's signals); lower is better.
        pit_from: ``pw_mtx``: [B, J_est, J_src] losses of all pairs; ``pw_pt``: [B] losses of one source each;
            ``perm_avg``: [B] losses of all sources in the order given. Losses are [B] for ``perm_avg`` and with
            ``perm_reduce``, else [B, J].
        perm_reduce: reduces [B, J!, J] losses to [B, J!], for up to 9 sources; ``None``: the mean over the
            sources.

    Raises:
        ValueError: ``pit_from`` is none of the three.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> loss_func = ExactPITLossWrapper(pairwise_neg_sisdr)
        >>> targets = torch.eye(3, 9).unsqueeze(0)
        >>> est = targets[:, [2, 0, 1]]  # estimate 0 is target 2, 1 is 0, 2 is 1
        >>> est = est + 0.1 * torch.linspace(-1, 1, 9)
        >>> loss, perm = loss_func.assign(est, targets)
        >>> loss.round(decimals=1), perm
        (tensor([[-14.3000, -13.8000, -13.6000]]), tensor([[1, 2, 0]]))
        >>> scalar, reordered = loss_func(est, targets, return_est=True)
        >>> scalar == loss.mean(), torch.equal(reordered[:, 0], est[:, 1])
        (tensor(True), True)

    References:
        Kolbæk et al., "Multitalker speech separation with utterance-level permutation invariant training of
        deep recurrent neural networks", 2017, eq. 4; Dovrat et al., "Many-speakers single channel speech
        separation with optimal permutation training", 2021.
    """

    def forward(
        self,
        est_targets: Tensor,
        targets: Tensor,
        return_est: bool = False,
        reduce_kwargs: dict[str, Any] | None = None,
        *,
        ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Returns the scalar loss of a batch: the call of Asteroid's ``PITLossWrapper``.

        Args:
            est_targets: estimates.
            targets: sources.
            return_est: also return the estimates in the order of the sources.
            reduce_kwargs: keyword arguments of ``perm_reduce``; not used without it, as in Asteroid.
            ids: not used.
            **kwargs: keyword arguments of ``loss_func``.

        Raises:
            ValueError: as :meth:`assign`; or no item of the batch has a loss (silent or non-finite signals).
        """
        if not reduce_kwargs or self.perm_reduce is None:
            return super().forward(est_targets, targets, return_est, ids=ids, **kwargs)
        pair_loss = self._checked(est_targets, targets, ids, kwargs)
        assigned = best_assignment(est_targets, targets, pair_loss, partial(self.perm_reduce, **reduce_kwargs))
        return as_asteroid(assigned, est_targets, targets, return_est)

    def _assign(self, est_targets: Tensor, targets: Tensor, pair_loss: PairLoss, ids: Tensor | None) -> Assignment:
        return best_assignment(est_targets, targets, pair_loss, self.perm_reduce)


def best_assignment(
    est_targets: Tensor,
    targets: Tensor,
    pair_loss: PairLoss,
    perm_reduce: Callable[..., Tensor] | None = None,
    search: Callable[[Tensor], Tensor] = best_permutation,
) -> Assignment:
    """Returns the losses under the permutation that a search finds, by default the best one.

    Args:
        est_targets: estimates.
        targets: sources.
        pair_loss: the loss of pairs.
        perm_reduce: reduces the losses of the sources, see :class:`ExactPITLossWrapper`.
        search: returns a permutation [B, J] for costs [B, J_est, J_src], which are not finite for a source without a
            loss. It is asked where the losses of the sources add up: neither ``perm_avg`` nor ``perm_reduce``.

    Shapes:
        est_targets, targets: [B, J, ...].

    Raises:
        ValueError: there are too many sources to compare all permutations, where that is needed.
    """
    by_order = pair_loss.pit_from == "perm_avg"
    options = pair_loss.options
    if options is not None and (by_order or perm_reduce is None):
        loss, perm = _best_sdr(est_targets, targets, options, search)
        if by_order:
            return Assignment(item_loss(loss), perm)
        return Assignment(loss, perm, neg_si_sdr=loss.detach() if pair_loss.is_neg_si_sdr else None)
    n_src = targets.shape[1]
    if n_src > MAX_FACTORIAL and (by_order or perm_reduce is not None):
        what = "pit_from='perm_avg'" if by_order else "perm_reduce"
        raise ValueError(
            f"{what} compares n_src! permutations: n_src must be at most {MAX_FACTORIAL}, got {n_src}; "
            "pairwise losses (pw_mtx, pw_pt) without perm_reduce have no such limit"
        )
    est, tgt = upcast(est_targets, targets)
    with full_precision(targets.device):
        if by_order:
            return _best_by_order(est, tgt, pair_loss)
        loss, perm = _best_of_pairs(est, tgt, pair_loss, perm_reduce, search)
    if options is not None:  # with perm_reduce
        silent = prepare_signals(est_targets.detach(), targets.detach(), options).silent.any(1)
        loss = torch.where(silent & loss.isfinite(), torch.nan, loss)
    return Assignment(loss, perm)


def _best_of_pairs(
    est: Tensor,
    targets: Tensor,
    pair_loss: PairLoss,
    perm_reduce: Callable[..., Tensor] | None,
    search: Callable[[Tensor], Tensor],
) -> Assignment:
    n_items, n_src = targets.shape[:2]
    pw, usable = guarded(pair_loss.matrix, est, targets, (n_items, n_src, n_src))
    if perm_reduce is None:
        perm = search(torch.where(usable.view(-1, 1, 1), pw, torch.nan).detach())
        return Assignment(torch.where(usable.unsqueeze(1), pick(pw, perm), torch.inf), perm)
    perms = all_permutations(n_src, pw.device)
    losses = perm_reduce(permuted(pw, perms))
    check_shape("perm_reduce", "[batch, n_src!]", losses, (n_items, len(perms)))
    defined = usable.unsqueeze(1) & losses.isfinite()
    best = torch.where(defined, losses, torch.inf).argmin(1, keepdim=True)
    loss = torch.where(defined, losses, torch.inf).gather(1, best).squeeze(1)
    return Assignment(loss, perms[best.squeeze(1)])


def _best_by_order(est: Tensor, targets: Tensor, pair_loss: PairLoss) -> Assignment:
    """Searches without a graph, and makes the graph of the best order only."""

    def compute(estimates: Tensor, sources: Tensor) -> Tensor:
        loss = pair_loss.loss_func(estimates, sources, **pair_loss.kwargs)
        check_shape("loss_func", "[batch]", loss, (len(sources),))
        return loss

    perms = all_permutations(targets.shape[1], targets.device)
    best = torch.zeros(len(targets), dtype=torch.long, device=targets.device)
    least: Tensor | float = torch.inf
    with torch.no_grad():
        for index, order in enumerate(perms):
            loss = compute(est[:, order], targets)
            better = loss < least  # false where the loss is nan
            best, least = torch.where(better, index, best), torch.where(better, loss, least)
    perm = perms[best]
    loss, usable = guarded(compute, reorder(est, perm), targets, (len(targets),))
    perm = torch.where(usable.unsqueeze(1), perm, perms[0])
    return Assignment(torch.where(usable, loss, torch.inf), perm)


def _best_sdr(
    est_targets: Tensor, targets: Tensor, options: SdrOptions, search: Callable[[Tensor], Tensor]
) -> Assignment:
    """Searches by inner products, and computes the loss on the matched pairs; prepares the signals once for both."""
    with full_precision(targets.device), torch.no_grad():
        signals = prepare_signals(est_targets, targets, options)
        dots = inner_products(signals)
        costs = neg_sdr_matrix(signals, dots, options)
        # A source without a loss takes no part in the search: the pairs of a silent target differ by rounding only.
        undefined = signals.silent | ~signals.finite.unsqueeze(1)
        perm = search(costs.masked_fill(undefined.unsqueeze(1), torch.nan))
    return Assignment(matched_neg_sdr(est_targets, targets, perm, options, (signals, dots)), perm)
