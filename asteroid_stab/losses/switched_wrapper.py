"""One loss after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import Parameter

from asteroid_stab.losses.assignment import Assignment
from asteroid_stab.losses.base_wrapper import AssignmentLossWrapper


class SwitchedLossWrapper(AssignmentLossWrapper):
    """Trains with one loss until the epoch in which the next takes over.

    A schedule within a stage (SinkPIT's beta, AttentionPIT's weight) counts the epochs of the whole run, or with
    ``restart_schedules`` those of the stage. A stage's parameters are in the optimizer while it lasts; the state of the
    others stays.

    Args:
        stages: the losses by name.
        first_epoch: first epoch of each stage, counted from 0; one of them is 0.
        restart_schedules: let each stage count its epochs from 0.

    Raises:
        ValueError: the names differ, no stage begins with epoch 0, or two begin together.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> from asteroid_stab.losses import AttentionPITLossWrapper, ExactPITLossWrapper
        >>> loss_func = SwitchedLossWrapper(
        ...     stages={
        ...         "attention": AttentionPITLossWrapper(pairwise_neg_sisdr, n_src=3),
        ...         "exact": ExactPITLossWrapper(pairwise_neg_sisdr),
        ...     },
        ...     first_epoch={"attention": 0, "exact": 20},
        ... )
        >>> loss_func.set_epoch(19)
        >>> loss_func.stage, len(loss_func.trained_parameters())
        ('attention', 8)
        >>> loss_func.set_epoch(20)
        >>> loss_func.stage, len(loss_func.trained_parameters())
        ('exact', 0)

    References:
        Kameoka et al., "AttentionPIT": Attn to Sink and Attn to Hun after 20 epochs.
    """

    def __init__(self, stages: Mapping[str, Any], first_epoch: Mapping[str, int], restart_schedules: bool = False):
        if set(stages) != set(first_epoch):
            raise ValueError(f"stages and first_epoch must have the same names, got {[*stages]} and {[*first_epoch]}")
        order = sorted(first_epoch, key=lambda name: first_epoch[name])
        starts = [first_epoch[name] for name in order]
        if not starts or starts[0] != 0 or len(set(starts)) < len(starts):
            raise ValueError(f"one stage must begin with epoch 0 and no two together, got {dict(first_epoch)}")
        first = stages[order[0]]
        super().__init__(first.loss_func, first.pit_from)
        self.stages = nn.ModuleDict({name: stages[name] for name in order})
        self.first_epoch = {name: first_epoch[name] for name in order}
        self.stage, self.restart_schedules = order[0], restart_schedules

    @property
    def active(self) -> AssignmentLossWrapper:
        """The loss of the present stage."""
        return self._losses()[self.stage]

    def _losses(self) -> dict[str, AssignmentLossWrapper]:
        return cast("dict[str, AssignmentLossWrapper]", dict(self.stages.items()))

    @property
    def is_neg_si_sdr(self) -> bool:
        """Whether the present stage is that."""
        return self.active.is_neg_si_sdr

    def check(self, plan: Any) -> None:
        """Asks every stage."""
        for stage in self._losses().values():
            stage.check(plan)

    @property
    def remembers_items(self) -> bool:
        """Whether one of them does."""
        return any(stage.remembers_items for stage in self._losses().values())

    def bind(self, items: Any) -> None:
        """Binds every stage that remembers items, so that what does not fit is told before the first begins."""
        for stage in self._losses().values():
            if stage.remembers_items:
                stage.bind(items)

    def set_epoch(self, epoch: int) -> None:
        """Goes to the stage of ``epoch``."""
        self.stage = [name for name, start in self.first_epoch.items() if start <= epoch][-1]
        self.active.set_epoch(epoch - self.first_epoch[self.stage] if self.restart_schedules else epoch)

    def trained_parameters(self) -> list[Parameter]:
        """Those of the present stage."""
        return self.active.trained_parameters()

    def figures(self) -> dict[str, Tensor]:
        """Those of the present stage."""
        return self.active.figures()

    def assign(
        self,
        est_targets: Tensor,
        targets: Tensor,
        reduce_kwargs: dict[str, Any] | None = None,
        ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Assignment:
        """See the present stage's.

        Args:
            est_targets: estimates.
            targets: targets.
            reduce_kwargs: for the present stage.
            ids: likewise.
            **kwargs: likewise.
        """
        loss, perm = self.active.assign(est_targets, targets, reduce_kwargs=reduce_kwargs, ids=ids, **kwargs)
        idle = [(p * 0.0).nan_to_num().sum() for n, s in self.stages.items() if n != self.stage for p in s.parameters()]
        if idle:  # DDP waits for the gradient of every parameter that it knew at the start; theirs is zero
            loss = loss + sum(idle)
        return Assignment(loss, perm)
