"""What all assignment losses share: the call of Asteroid's wrappers on top of one method, ``assign``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asteroid.losses import PITLossWrapper
from asteroid.losses.sdr import MultiSrcNegSDR, PairwiseNegSDR, SingleSrcNegSDR
from torch import Tensor

from asteroid_stab.losses.assignment import Assignment, batch_loss, reorder
from asteroid_stab.losses.pairwise import SdrOptions

_SDR_LOSSES = {"pw_mtx": PairwiseNegSDR, "pw_pt": SingleSrcNegSDR, "perm_avg": MultiSrcNegSDR}


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
    if type(loss_func) is not _SDR_LOSSES[pit_from]:
        return None
    if pit_from == "pw_pt" and loss_func.reduction != "none":  # type: ignore[attr-defined]
        return None
    sdr: Any = loss_func
    return SdrOptions(sdr.sdr_type, sdr.zero_mean, sdr.take_log, sdr.EPS)


class AssignmentLossWrapper(PITLossWrapper):
    """Base of the losses that pair estimates with sources: a subclass writes :meth:`assign`, and is complete.

    Called as Asteroid's wrappers are, it gives the mean over the items that have a loss, each item's being
    the mean over its sources that have one.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``; lower is better.
        pit_from: ``pw_mtx``, ``pw_pt`` or ``perm_avg``: what ``loss_func`` computes, see ``PITLossWrapper``.
        perm_reduce: reduction of the sources' losses, see ``PITLossWrapper``.

    Raises:
        ValueError: ``pit_from`` is none of the three.
    """

    def __init__(
        self,
        loss_func: Callable[..., Tensor],
        pit_from: str = "pw_mtx",
        perm_reduce: Callable[..., Tensor] | None = None,
    ):
        if pit_from not in _SDR_LOSSES:
            raise ValueError(f"pit_from must be one of {', '.join(_SDR_LOSSES)}, got {pit_from!r}")
        super().__init__(loss_func, pit_from=pit_from, perm_reduce=perm_reduce)

    def assign(
        self, est_targets: Tensor, targets: Tensor, reduce_kwargs: dict[str, Any] | None = None, **kwargs: Any
    ) -> Assignment:
        """The losses and the assignment of every item, see :class:`Assignment`.

        Args:
            est_targets: estimates, [B, J, ...].
            targets: targets, [B, J, ...].
            reduce_kwargs: keyword arguments of ``perm_reduce``.
            **kwargs: keyword arguments of ``loss_func``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define assign()")

    def forward(
        self,
        est_targets: Tensor,
        targets: Tensor,
        return_est: bool = False,
        reduce_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """The scalar loss of a batch.

        Args:
            est_targets: estimates, [B, J, ...].
            targets: targets, [B, J, ...].
            return_est: give the estimates in the order of the targets as well.
            reduce_kwargs: keyword arguments of ``perm_reduce``.
            **kwargs: keyword arguments of ``loss_func``.

        Raises:
            ValueError: the shapes do not fit, or no item of the batch has a loss (silent or non-finite
                signals).
        """
        loss, perm = self.assign(est_targets, targets, reduce_kwargs=reduce_kwargs, **kwargs)
        mean = batch_loss(loss)
        return (mean, reorder(est_targets, perm)) if return_est else mean


def check_sources(est_targets: Tensor, targets: Tensor) -> None:
    """Refuses estimates and targets that are not [B, J, ...] with the same B and J.

    Raises:
        ValueError: names what was wanted and got.
    """
    for name, signal in (("est_targets", est_targets), ("targets", targets)):
        if signal.ndim < 2:
            raise ValueError(f"{name} must be [batch, n_src, ...], got {list(signal.shape)}")
    if targets.shape[1] == 0:
        raise ValueError(f"targets must hold at least 1 source, got shape {list(targets.shape)}")
    for axis, name in enumerate(("items", "sources")):
        if est_targets.shape[axis] != targets.shape[axis]:
            raise ValueError(
                f"est_targets must hold as many {name} as targets, {targets.shape[axis]}, got "
                f"{est_targets.shape[axis]} (shapes {list(est_targets.shape)} and {list(targets.shape)})"
            )
