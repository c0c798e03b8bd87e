"""One loss after the other: a sequence of phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import Parameter

from asteroid_stab.losses.assignment import Assignment
from asteroid_stab.losses.base_wrapper import AssignmentLossWrapper
from asteroid_stab.losses.pairs import PairLoss


class SwitchedLossWrapper(AssignmentLossWrapper):
    """Trains with one loss until the epoch in which the next one takes over: a sequence of phases.

    A schedule within a phase (SinkPIT's beta, AttentionPIT's weight) counts the epochs of the whole run, or with
    ``restart_schedules`` the epochs of the phase. A phase's parameters are in the optimizer while the phase lasts.
    Losses, assignment and figures are those of the present phase.

    Args:
        phases: the losses by name.
        first_epoch: first epoch of each phase, counted from 0; one of them is 0.
        restart_schedules: let each phase count its epochs from 0.

    Raises:
        ValueError: the names differ, no phase begins with epoch 0, or two begin together.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> from asteroid_stab.losses import AttentionPITLossWrapper, ExactPITLossWrapper
        >>> loss_func = SwitchedLossWrapper(
        ...     phases={
        ...         "attention": AttentionPITLossWrapper(pairwise_neg_sisdr, n_src=3),
        ...         "exact": ExactPITLossWrapper(pairwise_neg_sisdr),
        ...     },
        ...     first_epoch={"attention": 0, "exact": 20},
        ... )
        >>> loss_func.set_epoch(19)
        >>> loss_func.phase, len(loss_func.trained_parameters())
        ('attention', 8)
        >>> loss_func.set_epoch(20)
        >>> loss_func.phase, len(loss_func.trained_parameters())
        ('exact', 0)

    References:
        Kameoka et al., "AttentionPIT", section 3.2: Attn to Sink and Attn to Hun after 20 epochs.
    """

    def __init__(self, phases: Mapping[str, Any], first_epoch: Mapping[str, int], restart_schedules: bool = False):
        if set(phases) != set(first_epoch):
            raise ValueError(f"phases and first_epoch must have the same names, got {[*phases]} and {[*first_epoch]}")
        order = sorted(first_epoch, key=lambda name: first_epoch[name])
        starts = [first_epoch[name] for name in order]
        if not starts or starts[0] != 0 or len(set(starts)) < len(starts):
            raise ValueError(f"one phase must begin with epoch 0 and no two together, got {dict(first_epoch)}")
        first = phases[order[0]]
        super().__init__(first.loss_func, first.pit_from)
        self.phases = nn.ModuleDict({name: phases[name] for name in order})
        self.first_epoch = {name: first_epoch[name] for name in order}
        self.phase, self.restart_schedules = order[0], restart_schedules

    @property
    def active(self) -> AssignmentLossWrapper:
        """The loss of the present phase."""
        return cast("AssignmentLossWrapper", self.phases[self.phase])

    def parts(self) -> Sequence[AssignmentLossWrapper]:
        """Returns the losses of all phases."""
        return cast("list[AssignmentLossWrapper]", list(self.phases.values()))

    def set_epoch(self, epoch: int) -> None:
        """Goes to the phase of ``epoch``."""
        self.phase = [name for name, start in self.first_epoch.items() if start <= epoch][-1]
        self.active.set_epoch(epoch - self.first_epoch[self.phase] if self.restart_schedules else epoch)

    def trained_parameters(self) -> list[Parameter]:
        """Returns the parameters of the present phase."""
        return self.active.trained_parameters()

    def _assign(self, est_targets: Tensor, targets: Tensor, pair_loss: PairLoss, ids: Tensor | None) -> Assignment:
        assigned = self.active.assign(est_targets, targets, ids, **pair_loss.kwargs)
        idle = [(p * 0.0).nan_to_num().sum() for n, x in self.phases.items() if n != self.phase for p in x.parameters()]
        if not idle:
            return assigned
        # DDP waits for the gradient of every parameter that it knew at the start; the gradient of these is zero.
        return Assignment(assigned.loss + sum(idle), assigned.perm, assigned.figures, assigned.neg_si_sdr)
