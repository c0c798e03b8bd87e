"""One loss for all layers of a model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from asteroid_stab.losses.assignment import Assignment, reorder
from asteroid_stab.losses.base_wrapper import AssignmentLossWrapper
from asteroid_stab.losses.fixed_pit_wrapper import FixedPITLossWrapper
from asteroid_stab.losses.pairs import losses_in_order
from asteroid_stab.losses.pit_wrapper import ExactPITLossWrapper

WEIGHTS = ("uniform", "linear", "last")
PERMS = ("own", "last")
HARD = (ExactPITLossWrapper, FixedPITLossWrapper)


class LayerwiseLossWrapper(AssignmentLossWrapper):
    r"""The weighted sum of the losses of K layers' estimates.

    .. math:: L = \sum_{r=1}^{K} w_r L_r

    Estimates are ``[K, B, J, T]``, as models from :func:`asteroid_stab.models.layered_model` give them in training; a
    plain ``[B, J, T]`` is one layer. ``Assignment.perm`` is ``[K, B, J]``: trackers see every layer, stabilizers the
    last.

    Weights and assignments are our reading: the paper's text that we have names neither.

    Args:
        loss: the assignment and loss of one layer.
        weights: ``uniform``: 1/K each; ``linear``: r/K²; ``last``: the last layer's loss, plus ``early_weight`` times
            the mean of the others'.
        early_weight: with ``last``; at 0, the default, the layers before the last are looked at and not trained.
        perm: ``own``: each layer has an assignment of its own; ``last``: all have the last layer's, which must be
            exact or fixed.

    Raises:
        ValueError: an argument is none of the choices, or there is a weight that has no use.

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
        optimization", arXiv 2311.12199; ``linear`` is the multi-layer loss of Nachmani et al., "Voice separation with
        an unknown number of multiple speakers", ICML 2020, as its public code has it.
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
        self._figures: dict[str, Tensor] = {}

    def layer_weights(self, n_layers: int) -> list[float]:
        """The weights of the layers, the last one last."""
        if self.weights == "uniform":
            return [1 / n_layers] * n_layers
        if self.weights == "linear":
            return [(r + 1) / n_layers**2 for r in range(n_layers)]
        return [self.early_weight / max(1, n_layers - 1)] * (n_layers - 1) + [1.0]

    @property
    def trains_early(self) -> bool:
        """Whether layers before the last have a weight."""
        return self.weights != "last" or self.early_weight > 0

    @property
    def is_neg_si_sdr(self) -> bool:
        """False: it is a sum over layers."""
        return False

    def check(self, plan: Any) -> None:
        """Asks the layers' loss."""
        self.loss.check(plan)

    @property
    def remembers_items(self) -> bool:
        """Whether the layers' loss does."""
        return self.loss.remembers_items

    def bind(self, items: Any) -> None:
        """Hands on to the layers' loss."""
        self.loss.bind(items)

    def set_epoch(self, epoch: int) -> None:
        """Hands on to the layers' loss."""
        self.loss.set_epoch(epoch)

    def trained_parameters(self) -> list[Parameter]:
        """Those of the layers' loss."""
        return self.loss.trained_parameters()

    def figures(self) -> dict[str, Tensor]:
        """The layers' loss' of the last layer, and ``loss_layer0`` and so on: the mean loss of each layer."""
        return self._figures

    def assign(
        self,
        est_targets: Tensor,
        targets: Tensor,
        reduce_kwargs: dict[str, Any] | None = None,
        ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Assignment:
        """The joined losses, and the assignment of every layer.

        Args:
            est_targets: estimates of the layers, the last one last.
            targets: targets.
            reduce_kwargs: for the layers' loss.
            ids: likewise.
            **kwargs: likewise.

        Shapes:
            est_targets: [K, B, J, T] or [B, J, T]; targets: [B, J, T]; loss: as the layers' loss; perm: [K, B, J].

        Raises:
            ValueError: a shape is wrong.
        """
        layers = est_targets if est_targets.ndim == targets.ndim + 1 else est_targets.unsqueeze(0)
        weights = self.layer_weights(len(layers))
        parts: dict[int, Assignment] = {}
        for r in reversed(range(len(layers))):  # the last one first: it may give the others its assignment
            est = layers[r] if weights[r] else layers[r].detach()
            if self.perm == "own" or r == len(layers) - 1:
                parts[r] = self.loss.assign(est, targets, reduce_kwargs=reduce_kwargs, ids=ids, **kwargs)
                if r == len(layers) - 1:
                    of_last = self.loss.figures()
            else:
                last = parts[len(layers) - 1].perm
                loss = losses_in_order(self.loss_func, self.pit_from, reorder(est, last), targets, kwargs)
                parts[r] = Assignment(loss, last)
        joined = torch.stack([weights[r] * parts[r].loss for r in range(len(layers)) if weights[r]]).sum(0)
        self._note([parts[r].loss.detach() for r in range(len(layers))], of_last)
        return Assignment(joined, torch.stack([parts[r].perm for r in range(len(layers))]))

    def _note(self, losses: list[Tensor], of_last: dict[str, Tensor]) -> None:
        if len(losses) == 1:
            self._figures = of_last
            return
        finite = [torch.isfinite(loss) for loss in losses]
        means = [torch.where(f, x, 0.0).sum() / f.sum().clamp_min(1) for f, x in zip(finite, losses, strict=True)]
        self._figures = {**of_last, **{f"loss_layer{r}": mean for r, mean in enumerate(means)}}
