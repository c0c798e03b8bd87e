"""One loss for all layers of a model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from asteroid_stab.losses.assignment import Assignment, reorder
from asteroid_stab.losses.base_wrapper import AssignmentLossWrapper
from asteroid_stab.losses.fixed_pit_wrapper import FixedPITLossWrapper
from asteroid_stab.losses.hysteresis_wrapper import HysteresisPITLossWrapper
from asteroid_stab.losses.pairs import PairLoss
from asteroid_stab.losses.pit_wrapper import ExactPITLossWrapper

WEIGHTS = ("uniform", "linear", "last")
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
            the mean of the others' losses.
        early_weight: with ``last``; at 0, the default, the layers before the last are reported and not trained.
        perm: ``own``: each layer has its own assignment; ``last``: all layers have the assignment of the last one,
            which must be exact or fixed.

    Raises:
        ValueError: an argument is none of the choices, or ``early_weight`` is given without ``weights="last"``.

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
        as its public code has it.
    """

    def __init__(
        self, loss: AssignmentLossWrapper, weights: str = "uniform", early_weight: float = 0.0, perm: str = "own"
    ):
        for name, value, known in (("weights", weights, WEIGHTS), ("perm", perm, PERMS)):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if early_weight < 0 or (early_weight and weights != "last"):
            raise ValueError(f"early_weight must be at least 0, and 0 unless weights='last', got {early_weight}")
        if perm == "last" and not (isinstance(loss, HARD) and loss.perm_reduce is None and loss.pit_from != "perm_avg"):
            raise ValueError(
                "perm='last' must have an exact or fixed assignment with a loss for each source (its early layers "
                f"would be trained with another loss), got {type(loss).__name__}"
            )
        super().__init__(loss.loss_func, loss.pit_from)
        self.loss, self.weights, self.early_weight, self.perm = loss, weights, early_weight, perm

    def parts(self) -> Sequence[AssignmentLossWrapper]:
        """Returns the loss of one layer."""
        return [self.loss]

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
        return [self.early_weight / max(1, n_layers - 1)] * (n_layers - 1) + [1.0]

    @property
    def trains_early(self) -> bool:
        """Whether layers before the last have a weight."""
        return self.weights != "last" or self.early_weight > 0

    def _assign(self, est_targets: Tensor, targets: Tensor, pair_loss: PairLoss, ids: Tensor | None) -> Assignment:
        layers = est_targets if est_targets.ndim == targets.ndim + 1 else est_targets.unsqueeze(0)
        if not len(layers):
            raise ValueError(f"est_targets must hold at least 1 layer, got shape {list(est_targets.shape)}")
        weights = self.layer_weights(len(layers))
        self.loss.set_layer(-1)
        of_last = self.loss.assign(layers[-1] if weights[-1] else layers[-1].detach(), targets, ids, **pair_loss.kwargs)
        early: list[Assignment] = []
        for r, (layer, weight) in enumerate(zip(layers[:-1], weights[:-1], strict=True), start=-len(layers)):
            est = layer if weight else layer.detach()
            if self.perm == "own":
                self.loss.set_layer(r)
                early.append(self.loss.assign(est, targets, ids, **pair_loss.kwargs))
            else:
                loss = pair_loss.in_order(reorder(est, of_last.perm), targets)
                early.append(Assignment(loss, of_last.perm))
        parts = [*early, of_last]
        joined = torch.stack([w * part.loss for w, part in zip(weights, parts, strict=True) if w]).sum(0)
        figures = dict(of_last.figures)
        if len(parts) > 1:
            figures |= {f"loss_layer{r}": _finite_mean(part.loss.detach()) for r, part in enumerate(parts)}
        return Assignment(joined, torch.stack([part.perm for part in parts]), figures)


def _finite_mean(loss: Tensor) -> Tensor:
    finite = torch.isfinite(loss)
    return torch.where(finite, loss, 0.0).sum() / finite.sum().clamp_min(1)
