"""What all assignment losses share: the call of Asteroid's wrappers on top of one method, ``assign``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asteroid.losses import PITLossWrapper
from torch import Tensor
from torch.nn import Parameter

from asteroid_stab.losses.assignment import Assignment, batch_loss, reorder
from asteroid_stab.losses.pairs import SDR_LOSSES, Pairs, all_pairs


class AssignmentLossWrapper(PITLossWrapper):
    """Base of the losses that pair estimates with sources: a subclass writes :meth:`assign`, and is complete.

    Called as Asteroid's wrappers are, it gives the mean over the items that have a loss, each item's being
    the mean over its sources that have one. A loss that is more than a function of its arguments (it has a schedule,
    parameters of its own, a memory of the items) overrides :meth:`set_epoch`, :meth:`trained_parameters`,
    :meth:`bind` or :meth:`figures`, which :class:`~asteroid_stab.engine.system.StabSystem` calls.

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
        if pit_from not in SDR_LOSSES:
            raise ValueError(f"pit_from must be one of {', '.join(SDR_LOSSES)}, got {pit_from!r}")
        super().__init__(loss_func, pit_from=pit_from, perm_reduce=perm_reduce)

    def assign(
        self,
        est_targets: Tensor,
        targets: Tensor,
        reduce_kwargs: dict[str, Any] | None = None,
        ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Assignment:
        """The losses and the assignment of every item, see :class:`Assignment`.

        Args:
            est_targets: estimates, [B, J, ...].
            targets: targets, [B, J, ...].
            reduce_kwargs: keyword arguments of ``perm_reduce``.
            ids: stable ids of the items, [B], for losses that remember something of each.
            **kwargs: keyword arguments of ``loss_func``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define assign()")

    @property
    def is_neg_si_sdr(self) -> bool:
        """Whether :meth:`assign` gives each source's negative SI-SDR, and nothing on top."""
        return False

    def check(self, plan: Any) -> None:
        """Called before a run is begun, so that what cannot work is told before anything is made.

        Args:
            n_src: sources of model and data.
            resumed: a checkpoint will bring the loss' state.

        Raises:
            StabError: the loss cannot be used on such data.
        """

    @property
    def remembers_items(self) -> bool:
        """Whether the loss goes by the items' ids, which then must be stable; if so, :meth:`bind` is called."""
        return False

    def bind(self, items: Any) -> None:
        """Called before training, with the items' names by id and the fingerprint of the corpus."""

    def set_epoch(self, epoch: int) -> None:
        """Called before each epoch; a schedule is a function of ``epoch`` alone, so that a resumed run has it right."""

    def trained_parameters(self) -> list[Parameter]:
        """The loss' own parameters that are trained in this epoch; they are no part of the model."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def figures(self) -> dict[str, Tensor]:
        """Scalars that tell how the last :meth:`assign` went, for the log; detached."""
        return {}

    def forward(
        self,
        est_targets: Tensor,
        targets: Tensor,
        return_est: bool = False,
        reduce_kwargs: dict[str, Any] | None = None,
        ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """The scalar loss of a batch.

        Args:
            est_targets: estimates, [B, J, ...].
            targets: targets, [B, J, ...].
            return_est: give the estimates (of the last layer) in the order of the targets as well.
            reduce_kwargs: keyword arguments of ``perm_reduce``.
            ids: see :meth:`assign`.
            **kwargs: keyword arguments of ``loss_func``.

        Raises:
            ValueError: the shapes do not fit, or no item of the batch has a loss (silent or non-finite
                signals).
        """
        loss, perm = self.assign(est_targets, targets, reduce_kwargs=reduce_kwargs, ids=ids, **kwargs)
        mean = batch_loss(loss)
        if not return_est:
            return mean
        last = (est_targets, perm) if perm.ndim == 2 else (est_targets[-1], perm[-1])
        return mean, reorder(*last)


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


class PairwiseLossWrapper(AssignmentLossWrapper):
    """Base of the losses that need a loss for every pair: no ``perm_avg``, and no ``perm_reduce``.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``; lower is better.
        pit_from: ``pw_mtx`` or ``pw_pt``.

    Raises:
        ValueError: ``pit_from`` is none of the two.
    """

    def __init__(self, loss_func: Callable[..., Tensor], pit_from: str = "pw_mtx"):
        if pit_from not in ("pw_mtx", "pw_pt"):
            raise ValueError(f"{type(self).__name__} needs pairs: pit_from must be pw_mtx or pw_pt, got {pit_from!r}")
        super().__init__(loss_func, pit_from)

    def _check(self, est_targets: Tensor, targets: Tensor, reduce_kwargs: dict[str, Any] | None) -> None:
        check_sources(est_targets, targets)
        if reduce_kwargs:
            raise ValueError(f"{type(self).__name__} has no perm_reduce for reduce_kwargs, got {sorted(reduce_kwargs)}")

    def _pairs(
        self, est_targets: Tensor, targets: Tensor, reduce_kwargs: dict[str, Any] | None, kwargs: dict[str, Any]
    ) -> Pairs:
        self._check(est_targets, targets, reduce_kwargs)
        return all_pairs(self.loss_func, self.pit_from, est_targets, targets, kwargs)
