"""The contract of all assignment losses: ``assign`` and its hooks, and the call of Asteroid's wrappers on top."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from asteroid.losses import PITLossWrapper
from torch import Tensor

from asteroid_stab.losses.assignment import Assignment, batch_loss, reorder
from asteroid_stab.losses.hooks import LossHooks
from asteroid_stab.losses.lengths import Lengths, assign_true_parts, check_lengths
from asteroid_stab.losses.pairs import SDR_LOSSES, PairLoss


class AssignmentLossWrapper(LossHooks, PITLossWrapper, ABC):
    """Base of the losses that assign estimates to sources: a subclass writes :meth:`_assign` and is complete.

    Called like Asteroid's wrappers, it returns the mean over the items that have a loss; the loss of an item is the
    mean over its sources that have one.

    A loss that depends on more than its arguments overrides hooks, which a training calls: :meth:`check` (before any
    file is written), :meth:`bind`, :meth:`remember` and :attr:`remembers_items` (it goes by the ids of the items),
    :meth:`set_epoch` (it has a schedule), :meth:`trained_parameters` (not all of its parameters are trained in every
    epoch), see :class:`~asteroid_stab.losses.hooks.LossHooks`. A loss made of other losses returns them from
    :meth:`parts`; the hooks then ask every part.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``, item by item (no item's loss may depend on another's
            signals); lower is better.
        pit_from: what ``loss_func`` computes: ``pw_mtx`` ([B, J_est, J_src] losses of all pairs), ``pw_pt`` ([B] losses
            of one source each) or ``perm_avg`` ([B] losses of all sources in the order given).
        perm_reduce: reduction of the sources' losses, see ``PITLossWrapper``.

    Raises:
        ValueError: ``pit_from`` is none of the three.
        TypeError: (when a subclass is defined) it overrides ``assign``.

    Example:
        >>> import torch
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> class InOrder(AssignmentLossWrapper):
        ...     def _assign(self, est_targets, targets, pair_loss, ids):
        ...         order = torch.arange(targets.shape[1]).expand(targets.shape[:2])
        ...         return Assignment(pair_loss.in_order(est_targets, targets), order)
        >>> targets = torch.eye(3, 9).unsqueeze(0)
        >>> InOrder(pairwise_neg_sisdr).assign(targets[:, [2, 0, 1]], targets).perm
        tensor([[0, 1, 2]])
    """

    def __init__(
        self,
        loss_func: Callable[..., Tensor],
        pit_from: str = "pw_mtx",
        perm_reduce: Callable[..., Tensor] | None = None,
    ):
        if pit_from not in SDR_LOSSES:
            raise ValueError(f"pit_from must be one of {', '.join(SDR_LOSSES)}, got {pit_from!r}")
        super().__init__(loss_func, pit_from=pit_from, perm_reduce=perm_reduce)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.assign is not AssignmentLossWrapper.assign:
            raise TypeError(
                f"{cls.__name__} must not override assign(), which checks its arguments for all losses: write "
                "_assign(self, est_targets, targets, pair_loss, ids) instead"
            )

    @final
    def assign(
        self,
        est_targets: Tensor,
        targets: Tensor,
        ids: Tensor | None = None,
        *,
        lengths: Lengths | None = None,
        **kwargs: Any,
    ) -> Assignment:
        """Assigns the estimates of every item to its sources, and computes the losses under the assignment.

        Losses are in the unit of ``loss_func`` (dB for SDR losses); lower is better. Sources and items without a loss
        are ``nan`` (silent target) or ``inf`` (a value that is not finite), see :class:`Assignment`; they have no
        gradient and change neither the losses nor the gradients of the others.

        Args:
            est_targets: estimates; each layer's, the last one last, for
                :class:`~asteroid_stab.losses.LayerwiseLossWrapper`.
            targets: sources.
            ids: ids of the items, for losses that remember items (:attr:`remembers_items`); the others ignore them.
            lengths: samples of each item that are no padding; None: there is no padding. The loss of a padded item is
                that of its true part alone, as if it were not padded.
            **kwargs: keyword arguments of ``loss_func``.

        Returns:
            Losses and assignment, with the figures that the loss wants logged.

        Shapes:
            est_targets: [B, J, ...] or [K, B, J, ...]; [B, J, T] for SDR losses; targets: [B, J, ...]; ids: [B]; loss:
            [B, J], or [B] where the loss is one number for an item; perm: [B, J], or [K, B, J] with layers.

        Raises:
            ValueError: the shapes or lengths do not fit, ``loss_func`` or ``perm_reduce`` returns another shape than
                it must, an SDR loss gets keyword arguments, ids are missing, or the loss cannot work with this number
                of sources.
        """
        pair_loss = self._checked(est_targets, targets, ids, kwargs)
        each = check_lengths(lengths, len(targets), targets.shape[-1])
        if each is None:
            return self._assign(est_targets, targets, pair_loss, ids)
        return assign_true_parts(
            lambda est, true, of: self._assign(est, true, pair_loss, of), est_targets, targets, ids, each
        )

    @abstractmethod
    def _assign(self, est_targets: Tensor, targets: Tensor, pair_loss: PairLoss, ids: Tensor | None) -> Assignment:
        """Computes what :meth:`assign` returns; its arguments are checked.

        Args:
            est_targets: estimates.
            targets: sources.
            pair_loss: ``loss_func`` with the keyword arguments of this call.
            ids: ids of the items, or None.
        """

    def _checked(self, est_targets: Tensor, targets: Tensor, ids: Tensor | None, kwargs: Mapping[str, Any]) -> PairLoss:
        pair_loss = PairLoss(self.loss_func, self.pit_from, kwargs)
        if not self.parts():  # the parts check the signals that they get
            pair_loss.check(est_targets, targets)
        if ids is not None and len(ids) != len(targets):
            raise ValueError(f"ids must hold an id for each of {len(targets)} items, got {len(ids)}")
        return pair_loss

    def parts(self) -> Sequence[AssignmentLossWrapper]:
        """Returns the losses that this one is made of, whose :meth:`assign` it calls; by default none."""
        return ()

    def forward(
        self,
        est_targets: Tensor,
        targets: Tensor,
        return_est: bool = False,
        *,
        ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Returns the scalar loss of a batch, as Asteroid's wrappers do.

        Args:
            est_targets: estimates.
            targets: sources.
            return_est: also return the estimates (of the last layer) in the order of the sources, [B, J, ...].
            ids: ids of the items.
            **kwargs: keyword arguments of ``loss_func``.

        Raises:
            ValueError: as :meth:`assign`; or no item of the batch has a loss (silent or non-finite signals).
        """
        return as_asteroid(self.assign(est_targets, targets, ids, **kwargs), est_targets, targets, return_est)


def as_asteroid(
    assigned: Assignment, est_targets: Tensor, targets: Tensor, return_est: bool
) -> Tensor | tuple[Tensor, Tensor]:
    """Returns the batch's loss, and the estimates in the order of the sources if wanted."""
    loss, perm = assigned
    mean = batch_loss(loss)
    if not return_est:
        return mean
    last = est_targets[-1] if est_targets.ndim > targets.ndim else est_targets
    return mean, reorder(last, perm if perm.ndim == 2 else perm[-1])


class PairwiseLossWrapper(AssignmentLossWrapper):
    """Base of the losses that need a loss for every pair: neither ``perm_avg`` nor ``perm_reduce``.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``; lower is better.
        pit_from: ``pw_mtx`` or ``pw_pt``.

    Raises:
        ValueError: ``pit_from`` is neither.
    """

    def __init__(self, loss_func: Callable[..., Tensor], pit_from: str = "pw_mtx"):
        if pit_from not in ("pw_mtx", "pw_pt"):
            raise ValueError(f"{type(self).__name__} needs pairs: pit_from must be pw_mtx or pw_pt, got {pit_from!r}")
        super().__init__(loss_func, pit_from)
