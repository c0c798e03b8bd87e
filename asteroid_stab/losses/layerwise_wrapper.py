"""One loss for all layers of a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from asteroid_stab.losses.assignment import Assignment, reorder
from asteroid_stab.losses.base_wrapper import AssignmentLossWrapper
from asteroid_stab.losses.fixed_pit_wrapper import FixedPITLossWrapper
from asteroid_stab.losses.hysteresis_wrapper import HysteresisPITLossWrapper
from asteroid_stab.losses.pairs import PairLoss
from asteroid_stab.losses.pit_wrapper import ExactPITLossWrapper

WEIGHTS = ("uniform", "linear", "last", "blend")
WITH_EARLY_WEIGHT = {"last": math.inf, "blend": 1.0}  # and its largest value
PERMS = ("own", "last")
HARD = (ExactPITLossWrapper, FixedPITLossWrapper, HysteresisPITLossWrapper)


class LayerwiseLossWrapper(AssignmentLossWrapper):
    r"""The weighted sum of the losses of K layers' estimates.

    .. math:: L = \sum_{r=1}^{K} w_r L_r

    Estimates are ``[K, B, J, T]``, which models from :func:`asteroid_stab.models.layered_model` return in training; a
    plain ``[B, J, T]`` is one layer. ``Assignment.perm`` is ``[K, B, J]``: trackers see every layer, stabilizers the
    last. Figures: the figures of the last layer's loss, and with several layers ``loss_layer0``, ``loss_layer1``,
    ...: the mean loss of each layer.

    Weights and assignments are our reading: the paper's text that we have specifies neither.

    Args:
        loss: the assignment and loss of one layer.
        weights: ``uniform``: 1/K each; ``linear``: r/K²; ``last``: the last layer's loss, plus ``early_weight`` times
            the mean of the others' losses; ``blend``: (1 - a) of the last layer's loss and a of the mean of the
            others', a = ``early_weight``.
        early_weight: with ``last`` and ``blend``; at 0, the default, the layers before the last are reported and not
            trained. ``blend`` with (K - 1)/K is ``uniform``.
        perm: ``own``: each layer has its own assignment; ``last``: all layers have the assignment of the last one,
            which must be exact or fixed.
        early_schedule: returns ``early_weight`` for an epoch, counted from 0; ``None`` leaves it as it is. Figure, with
            a schedule: ``early_weight``. The early layers stay in the graph where it is 0, as processes that exchange
            gradients need.

    Raises:
        ValueError: an argument is none of the choices, or ``early_weight`` is out of its range: from 0 on with
            ``weights="last"``, from 0 to 1 with ``"blend"``, 0 with others, which take no schedule either.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> from asteroid_stab.losses import ExactPITLossWrapper
        >>> loss_func = LayerwiseLossWrapper(ExactPITLossWrapper(pairwise_neg_sisdr))
        >>> targets = torch.eye(3, 9).unsqueeze(0)
        >>> layers = torch.stack([targets + 0.1, targets[:, [2, 0, 1]] + 0.1])
        >>> loss_func.assign(layers, targets).perm
        tensor([[[0, 1, 2]],
        <BLANKLINE>
                [[1, 2, 0]]])

    References:
        Gao et al., "Improving label assignments learning by dynamic sample dropout combined with layer-wise
        optimization", arXiv 2311.12199, and their forerunner "Progressive learning for stabilizing label selection in
        speech separation with mapping-based method", arXiv 2110.10593, against unlike layers; ``linear`` is the
        multi-layer loss of Nachmani et al., "Voice separation with an unknown number of multiple speakers", ICML 2020,
        as its public code has it. ``blend`` is the loss of Shin et al., "Separate and reconstruct: asymmetric
        encoder-decoder for speech separation", NeurIPS 2024, arXiv 2406.05983, as its public code has it, and of Feng
        et al., "TISDiSS", arXiv 2509.15666, as its summaries have it; we do not have the equations of the papers.
    """

    def __init__(
        self,
        loss: AssignmentLossWrapper,
        weights: str = "uniform",
        early_weight: float = 0.0,
        perm: str = "own",
        early_schedule: Callable[[int], float] | None = None,
    ):
        for name, value, known in (("weights", weights, WEIGHTS), ("perm", perm, PERMS)):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if early_schedule is not None and weights not in WITH_EARLY_WEIGHT:
            raise ValueError(f"early_schedule needs weights='last' or 'blend', got weights={weights!r}")
        if perm == "last" and not (isinstance(loss, HARD) and loss.perm_reduce is None and loss.pit_from != "perm_avg"):
            raise ValueError(
                "perm='last' must have an exact or fixed assignment with a loss for each source (its early layers "
                f"would be trained with another loss), got {type(loss).__name__}"
            )
        super().__init__(loss.loss_func, loss.pit_from)
        self.loss, self.weights, self.perm, self.early_schedule = loss, weights, perm, early_schedule
        self.early_weight = early_weight
        self._schedule(0)  # fails now if the schedule returns no valid weight

    def parts(self) -> Sequence[AssignmentLossWrapper]:
        """Returns the loss of one layer."""
        return [self.loss]

    @property
    def early_weight(self) -> float:
        """The weight of the mean loss of the layers before the last."""
        return self._early_weight

    @early_weight.setter
    def early_weight(self, value: float) -> None:
        most = WITH_EARLY_WEIGHT.get(self.weights, 0.0)
        if not 0 <= value <= most or math.isinf(value):
            raise ValueError(
                "early_weight must be at least 0, at most 1 with weights='blend', and 0 unless weights='last' or "
                f"'blend', got {value}"
            )
        self._early_weight = float(value)

    def set_epoch(self, epoch: int) -> None:
        """Sets the schedule's ``early_weight``."""
        super().set_epoch(epoch)
        self._schedule(epoch)

    def _schedule(self, epoch: int) -> None:
        if self.early_schedule is not None:
            self.early_weight = self.early_schedule(epoch)

    def remember(self, ids: Tensor, assigned: Assignment) -> None:
        """Passes on the assignments of the layers, or of the last one alone where all layers have its assignment."""
        perm = assigned.perm[-1] if self.perm == "last" else assigned.perm
        super().remember(ids, Assignment(assigned.loss, perm))

    def layer_weights(self, n_layers: int) -> list[float]:
        """Returns the weights of the layers, the last one last."""
        if self.weights == "uniform":
            return [1 / n_layers] * n_layers
        if self.weights == "linear":
            return [(r + 1) / n_layers**2 for r in range(n_layers)]
        blend = self.weights == "blend" and n_layers > 1
        # (1 - a) L_last + a mean(L_early), with "blend"
        return [self.early_weight / max(1, n_layers - 1)] * (n_layers - 1) + [1.0 - self.early_weight * blend]

    @property
    def trains_early(self) -> bool:
        """Whether layers before the last have a weight, or may get one."""
        return self.weights not in WITH_EARLY_WEIGHT or self.early_weight > 0 or self.early_schedule is not None

    def _assign(self, est_targets: Tensor, targets: Tensor, pair_loss: PairLoss, ids: Tensor | None) -> Assignment:
        layers = est_targets if est_targets.ndim == targets.ndim + 1 else est_targets.unsqueeze(0)
        if not len(layers):
            raise ValueError(f"est_targets must hold at least 1 layer, got shape {list(est_targets.shape)}")
        weights, scheduled = self.layer_weights(len(layers)), self.early_schedule is not None
        self.loss.set_layer(-1)
        of_last = self.loss.assign(
            layers[-1] if weights[-1] or scheduled else layers[-1].detach(), targets, ids, **pair_loss.kwargs
        )
        early: list[Assignment] = []
        for r, (layer, weight) in enumerate(zip(layers[:-1], weights[:-1], strict=True), start=-len(layers)):
            est = layer if weight or scheduled else layer.detach()
            if self.perm == "own":
                self.loss.set_layer(r)
                early.append(self.loss.assign(est, targets, ids, **pair_loss.kwargs))
            else:
                loss = pair_loss.in_order(reorder(est, of_last.perm), targets)
                early.append(Assignment(loss, of_last.perm))
        parts = [*early, of_last]
        joined = torch.stack([w * part.loss for w, part in zip(weights, parts, strict=True) if w]).sum(0)
        if scheduled:  # what has no weight in this epoch keeps its graph, whose gradient is zero
            idle = [part.loss for w, part in zip(weights, parts, strict=True) if not w]
            joined = joined + sum(0.0 * torch.where(torch.isfinite(loss), loss, 0.0) for loss in idle)
        figures = dict(of_last.figures)
        if scheduled:
            figures["early_weight"] = joined.detach().new_full((), self.early_weight)
        if len(parts) > 1:
            figures |= {f"loss_layer{r}": _finite_mean(part.loss.detach()) for r, part in enumerate(parts)}
        return Assignment(joined, torch.stack([part.perm for part in parts]), figures)


def _finite_mean(loss: Tensor) -> Tensor:
    finite = torch.isfinite(loss)
    return torch.where(finite, loss, 0.0).sum() / finite.sum().clamp_min(1)
