"""Loss threshold: items that are separated well enough leave the batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from asteroid_stab.losses.assignment import item_loss
from asteroid_stab.run.plan import RunPlan
from asteroid_stab.stabilizers.base import Clock, Stabilizer, Step
from asteroid_stab.stabilizers.comm import Comm
from asteroid_stab.stabilizers.sums import EpochSums


class LossThreshold(Stabilizer):
    """Leaves out the items whose loss is not above a threshold: they teach little, and their gradients are large.

    The loss of an item is the mean over its sources, in the unit of the loss (for the negative SI-SDR in dB, -30 leaves
    out items that are separated to 30 dB or better). The others share the mean. A batch in which no item is left
    changes no weight. Nothing is remembered: an item that gets worse comes back.

    Figure: ``above_threshold``, share of the items with a loss that are kept.

    Args:
        threshold: the loss that an item must be above, as the loss reports it; -inf keeps all.

    Raises:
        ValueError: ``threshold`` is no number, or infinite.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> from asteroid_stab.losses import ExactPITLossWrapper
        >>> from asteroid_stab.stabilizers import Stabilization
        >>> stab = Stabilization(ExactPITLossWrapper(pairwise_neg_sisdr), [LossThreshold(-30.0)])
        >>> stab.begin_epoch(0)
        >>> targets = torch.randn(2, 3, 80)
        >>> noise = torch.tensor([0.001, 0.1]).view(2, 1, 1) * torch.randn(2, 3, 80)  # about 60 dB and 20 dB
        >>> est = (targets + noise).requires_grad_()
        >>> stab(est, targets).backward()
        >>> [bool(grad.any()) for grad in est.grad], stab.end_epoch()["above_threshold"]
        ([False, True], 0.5)

    References:
        The recipes of SepFormer in SpeechBrain (``threshold_byloss``, ``threshold: -30``), on by default there.
    """

    def __init__(self, threshold: float = -math.inf):
        if isinstance(threshold, bool) or not threshold < math.inf:
            raise ValueError(f"threshold must be a number, or -inf to keep all items, got {threshold!r}")
        self.threshold = float(threshold)
        self._sums = EpochSums()

    def neutral(self, plan: RunPlan) -> str | None:
        """Returns that a threshold of minus infinity keeps all."""
        return "threshold=-inf keeps all items" if self.threshold == -math.inf else None

    def begin_epoch(self, clock: Clock) -> None:
        self._sums.reset()

    def logits(self, step: Step) -> Tensor:
        """Returns 0 for the items above the threshold and minus infinity for the others."""
        loss = item_loss(step.assignment.loss)
        kept, defined = loss > self.threshold, torch.isfinite(loss)
        self._sums.add(kept=kept & defined, defined=defined)
        return torch.where(kept, 0.0, -torch.inf).to(loss)

    def end_epoch(self, comm: Comm) -> dict[str, float]:
        sums = self._sums.total(["kept", "defined"], comm.gather_or_none)
        return {"above_threshold": sums["kept"] / sums["defined"]} if sums["defined"] else {}

    def state_dict(self) -> dict[str, object]:
        """Returns the counts of the present epoch."""
        return {"sums": self._sums.state_dict()}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Goes on from saved counts."""
        self._sums.load_state_dict(state_dict["sums"])  # type: ignore[arg-type]
