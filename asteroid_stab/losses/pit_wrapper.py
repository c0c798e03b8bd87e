"""Exact permutation-invariant training, per item and for any number of sources."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from asteroid_stab.losses.assignment import (
    Assignment,
    all_permutations,
    best_permutation,
    item_loss,
    matched,
    permuted,
    reorder,
)
from asteroid_stab.losses.base_wrapper import AssignmentLossWrapper, check_sources
from asteroid_stab.losses.guard import check_shape, guarded
from asteroid_stab.losses.matched import matched_neg_sdr
from asteroid_stab.losses.pairs import pair_losses, refuse_arguments, sdr_options
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

MAX_FACTORIAL = 9  # sources; 10! losses of 10 sources are 145 MB an item


class ExactPITLossWrapper(AssignmentLossWrapper):
    """The loss under the best permutation: Asteroid's ``PITLossWrapper``, per item and for many sources.

    Drops in for it, and is several times faster: same call, values and gradients. What it adds:

    - :meth:`assign` gives the losses and the permutation of every item.
    - Any number of sources where the losses of the sources add up, that is without ``perm_reduce``.
    - Asteroid's own SDR losses (``pairwise_neg_sisdr``, ``singlesrc_neg_snr``, ``multisrc_neg_sdsdr``, ...)
      are searched by inner products, and computed directly on the matched pairs.
    - float32 inside under AMP: float16 and bfloat16 signals are cast up and autocast is off.
    - Silent targets of those SDR losses, and items that hold a value that is not finite, have no loss and no
      gradient, and leave the others alone. With ``perm_reduce`` an item with a silent target has none as a
      whole.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``, item by item (no item's loss may depend on
            another's signals); lower is better.
        pit_from: ``pw_mtx``: [B, J_est, J_src] losses of all pairs; ``pw_pt``: [B] losses of one source each;
            ``perm_avg``: [B] losses of all sources in the order given.
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

    @property
    def is_neg_si_sdr(self) -> bool:
        """Whether that is what ``loss_func`` is."""
        return (
            self.perm_reduce is None
            and self.pit_from != "perm_avg"
            and sdr_options(self.loss_func, self.pit_from) == SI_SDR
        )

    def assign(
        self,
        est_targets: Tensor,
        targets: Tensor,
        reduce_kwargs: dict[str, Any] | None = None,
        ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Assignment:
        """The losses and the best permutation of every item.

        Args:
            est_targets: estimates.
            targets: targets.
            reduce_kwargs: keyword arguments of ``perm_reduce``.
            ids: not used.
            **kwargs: keyword arguments of ``loss_func``.

        Shapes:
            est_targets: [B, J, ...]; targets: [B, J, ...]; loss: [B, J], or [B] for ``perm_avg`` and with
            ``perm_reduce``; perm: [B, J], the identity for items without a loss.

        Raises:
            ValueError: the shapes do not fit, ``loss_func`` or ``perm_reduce`` gives another shape than it
                must, or there are too many sources for ``perm_reduce`` or ``perm_avg``.
        """
        check_sources(est_targets, targets)
        adds_up = self.pit_from == "perm_avg" or self.perm_reduce is None
        options = sdr_options(self.loss_func, self.pit_from)
        if options is not None:
            check_signals(est_targets, targets)
            refuse_arguments(type(self.loss_func).__name__, kwargs)
        if options is not None and adds_up:
            loss, perm = _assign_sdr(est_targets, targets, options)
            return Assignment(item_loss(loss) if self.pit_from == "perm_avg" else loss, perm)
        n_src = targets.shape[1]
        if n_src > MAX_FACTORIAL and (self.pit_from == "perm_avg" or not adds_up):
            what = "pit_from='perm_avg'" if self.pit_from == "perm_avg" else "perm_reduce"
            raise ValueError(
                f"{what} compares n_src! permutations: n_src must be at most {MAX_FACTORIAL}, got {n_src}; "
                "pairwise losses (pw_mtx, pw_pt) without perm_reduce have no such limit"
            )
        est, tgt = upcast(est_targets, targets)
        with full_precision(targets.device):
            if self.pit_from == "perm_avg":
                return self._assign_by_order(est, tgt, kwargs)
            loss, perm = self._assign_adds_up(est, tgt, reduce_kwargs or {}, kwargs)
        if options is not None:  # with perm_reduce
            silent = prepare_signals(est_targets.detach(), targets.detach(), options).silent.any(1)
            loss = torch.where(silent & loss.isfinite(), torch.nan, loss)
        return Assignment(loss, perm)

    def _assign_adds_up(
        self, est: Tensor, targets: Tensor, reduce_kwargs: dict[str, Any], kwargs: dict[str, Any]
    ) -> Assignment:
        n_items, n_src = targets.shape[:2]

        def compute(estimates: Tensor, sources: Tensor) -> Tensor:
            return pair_losses(self.loss_func, self.pit_from, estimates, sources, kwargs)

        pw, usable = guarded(compute, est, targets, (n_items, n_src, n_src))
        if self.perm_reduce is None:
            perm = best_permutation(torch.where(usable.view(-1, 1, 1), pw, torch.nan))
            return Assignment(torch.where(usable.unsqueeze(1), matched(pw, perm), torch.inf), perm)
        perms = all_permutations(n_src, pw.device)
        losses = self.perm_reduce(permuted(pw, perms), **reduce_kwargs)
        check_shape("perm_reduce", "[batch, n_src!]", losses, (n_items, len(perms)))
        defined = usable.unsqueeze(1) & losses.isfinite()
        best = torch.where(defined, losses, torch.inf).argmin(1, keepdim=True)
        loss = torch.where(defined, losses, torch.inf).gather(1, best).squeeze(1)
        return Assignment(loss, perms[best.squeeze(1)])

    def _assign_by_order(self, est: Tensor, targets: Tensor, kwargs: dict[str, Any]) -> Assignment:
        """Searches without a graph, and makes that of the best order only."""

        def compute(estimates: Tensor, sources: Tensor) -> Tensor:
            loss = self.loss_func(estimates, sources, **kwargs)
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


def _assign_sdr(est_targets: Tensor, targets: Tensor, options: SdrOptions) -> Assignment:
    """Search by inner products, loss on the matched pairs; the signals are prepared once for both."""
    with full_precision(targets.device), torch.no_grad():
        signals = prepare_signals(est_targets, targets, options)
        dots = inner_products(signals)
        costs = neg_sdr_matrix(signals, dots, options)
        # What has no loss has no say: the pairs of a silent target differ by rounding only.
        undefined = signals.silent | ~signals.finite.unsqueeze(1)
        perm = best_permutation(costs.masked_fill(undefined.unsqueeze(1), torch.nan))
    return Assignment(matched_neg_sdr(est_targets, targets, perm, options, (signals, dots)), perm)
