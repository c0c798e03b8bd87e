"""AttentionPIT: an attention matrix, computed by a trained encoder, in the place of the permutation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from asteroid_stab.errors import StabError
from asteroid_stab.losses.assignment import Assignment
from asteroid_stab.losses.attention import orthogonality, sparsity
from asteroid_stab.losses.base_wrapper import PairwiseLossWrapper
from asteroid_stab.losses.guard import finite_or_zero
from asteroid_stab.losses.pairs import best_order, losses_in_order

REGULARIZERS = ("orthogonality", "sparsity")
SHORTEST = 16  # samples; four strides of 2


class SignalEncoder(nn.Sequential):
    """The encoder of AttentionPIT: four strided convolutions over the J signals together.

    Kernel 8, stride 2, J channels, each but the last followed by instance normalisation and SiLU. Padding 3 gives
    the paper's N' = N / 16 (floor at each layer). Our readings: the first convolution has J input channels, and the
    normalisation has no parameters; 8J² + J parameters a layer.

    With J input channels the signals are encoded jointly: exchanging two of them does not just exchange their codes,
    so the loss is not invariant to the order of the estimates. ``shared=True`` encodes each signal alone, with one
    channel, and is: a variant that the paper does not have.

    Args:
        n_src: J.
        shared: one channel for every signal, instead of J for all.

    Shapes:
        - input [B, J, N] with N at least 16, output [B, J, N // 16]

    References:
        Kameoka et al., "AttentionPIT", section 4.
    """

    def __init__(self, n_src: int, shared: bool = False):
        n_chan = 1 if shared else n_src
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Conv1d(n_chan, n_chan, 8, stride=2, padding=3), nn.InstanceNorm1d(n_chan), nn.SiLU()]
        super().__init__(*layers, nn.Conv1d(n_chan, n_chan, 8, stride=2, padding=3))
        self.n_src, self.shared = n_src, shared

    def forward(self, signals: Tensor) -> Tensor:
        """Codes [B, J, N // 16] of signals [B, J, N]."""
        if not self.shared:
            return super().forward(signals)
        return super().forward(signals.flatten(0, 1).unsqueeze(1)).view(*signals.shape[:2], -1)


class AttentionPITLossWrapper(PairwiseLossWrapper):
    r"""The loss of the estimates as an attention matrix A aligns them, plus a penalty on A that is no permutation.

    .. math:: A = \operatorname{softmax}_{\text{columns}}(K Q^\top / \sqrt{N'}), \qquad K = g_\phi(\hat S),
              \; Q = g_\phi(S), \qquad \tilde S = A^\top \hat S

    and the loss is that of :math:`\tilde S` for S in the order given, plus ``regularization_weight`` times one of

    - ``orthogonality``, eq. (10): :math:`\frac1{J^2} \sum |A A^\top - I|`
    - ``sparsity``, eq. (11): :math:`\frac1J \sum_j (\|a_j\|_1 / \|a_j\|_2 - 1) / (\sqrt J - 1)` over the rows
      :math:`a_j`. It is 0/0 for a row of zeros (an output that no target uses); such a row counts 1 here, as far from
      a permutation as can be, and it is 0 for J = 1. It does not forbid that one output serves all targets.

    The encoder's parameters are trained together with the model's, by the same optimizer, and are in the checkpoints,
    but not in the model that is exported. The search for a permutation is only done to tell it, for
    ``Assignment.perm``; it has no part in the loss.

    Silent targets have no loss, as everywhere; in the encoder they are a code that is constant in time.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``; lower is better.
        n_src: J; the encoder is made for it.
        regularizer: ``orthogonality`` or ``sparsity``.
        weight_schedule: gives ``regularization_weight`` in each epoch; ``None`` leaves that attribute alone, which
            is 0.
        shared_encoder: encode each signal alone, see :class:`SignalEncoder`.
        pit_from: ``pw_mtx`` or ``pw_pt``, see ``PITLossWrapper``.

    Raises:
        ValueError: an argument is out of its range, or ``regularization_weight`` is set below 0.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> _ = torch.manual_seed(0)
        >>> loss_func = AttentionPITLossWrapper(pairwise_neg_sisdr, n_src=3)
        >>> targets = torch.randn(2, 3, 160)
        >>> loss_func.attention(targets[:, [2, 0, 1]], targets).sum(1)  # columns sum to 1
        tensor([[1.0000, 1.0000, 1.0000],
                [1.0000, 1.0000, 1.0000]], grad_fn=<SumBackward1>)
        >>> loss_func.assign(targets[:, [2, 0, 1]], targets).perm
        tensor([[1, 2, 0],
                [1, 2, 0]])

    References:
        Kameoka, Seki, Li, Watanabe, "AttentionPIT", eq. (4) to (11).
    """

    def __init__(
        self,
        loss_func: Callable[..., Tensor],
        n_src: int,
        regularizer: str = "orthogonality",
        weight_schedule: Callable[[int], float] | None = None,
        shared_encoder: bool = False,
        pit_from: str = "pw_mtx",
    ):
        super().__init__(loss_func, pit_from)
        if n_src < 1:
            raise ValueError(f"n_src must be at least 1, got {n_src}")
        if regularizer not in REGULARIZERS:
            raise ValueError(f"regularizer must be one of {', '.join(REGULARIZERS)}, got {regularizer!r}")
        self.n_src, self.regularizer = n_src, regularizer
        self.encoder = SignalEncoder(n_src, shared_encoder)
        self.weight_schedule = weight_schedule
        self.regularization_weight = 0.0
        self.set_epoch(0)  # a schedule that gives no weight is told at once
        self._figures: dict[str, Tensor] = {}

    @property
    def regularization_weight(self) -> float:
        """Lambda, in units of ``loss_func``."""
        return self._regularization_weight

    @regularization_weight.setter
    def regularization_weight(self, weight: float) -> None:
        if not weight >= 0:
            raise ValueError(f"regularization_weight must be at least 0, got {weight}")
        self._regularization_weight = float(weight)

    def set_epoch(self, epoch: int) -> None:
        """Takes the schedule's ``regularization_weight``."""
        if self.weight_schedule is not None:
            self.regularization_weight = self.weight_schedule(epoch)

    def figures(self) -> dict[str, Tensor]:
        """``attention_error``: eq. (10)'s bracket, 0 for permutations, whichever regularizer is used;
        ``attention_agreement``: mean weight that A gives to the pairs of the best permutation, 1 where it is that;
        ``attention_lambda``: the regularization weight."""
        return self._figures

    def check(self, plan: Any) -> None:
        """Refuses another number of sources than the encoder was made for."""
        if n_src != self.n_src:
            raise StabError(f"AttentionPIT's encoder was made for n_src={self.n_src}, the data have {n_src} sources")

    def attention(self, est_targets: Tensor, targets: Tensor) -> Tensor:
        """``A[b, i, j]``: how much of estimate i is given to target j; the columns sum to 1. float32 or wider.

        Args:
            est_targets: estimates, [B, J, N].
            targets: targets, [B, J, N].

        Raises:
            ValueError: the signals are no [B, n_src, N], or shorter than 16.
        """
        for name, signal in (("est_targets", est_targets), ("targets", targets)):
            if signal.ndim != 3 or signal.shape[1] != self.n_src:
                raise ValueError(
                    f"{name} must be [batch, n_src, time] with n_src={self.n_src}, for which the encoder was made, "
                    f"got {list(signal.shape)}"
                )
            if signal.shape[2] < SHORTEST:
                raise ValueError(f"{name} must have at least {SHORTEST} samples, got {signal.shape[2]}")
        with torch.autocast(targets.device.type, enabled=False):  # logits grow with the square root of the length
            dtype = next(self.encoder.parameters()).dtype
            keys, queries = self.encoder(est_targets.to(dtype)), self.encoder(targets.to(dtype))  # eq. (4), (5)
            return torch.softmax(keys @ queries.mT / math.sqrt(keys.shape[-1]), dim=1)  # eq. (6)

    def assign(
        self,
        est_targets: Tensor,
        targets: Tensor,
        reduce_kwargs: dict[str, Any] | None = None,
        ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Assignment:
        """The losses of the aligned estimates with the penalty, and the best hard assignment.

        Args:
            est_targets: estimates.
            targets: targets.
            reduce_kwargs: not used.
            ids: not used.
            **kwargs: keyword arguments of ``loss_func``.

        Shapes:
            est_targets: [B, J, N]; targets: [B, J, N]; loss: [B, J]; perm: [B, J].

        Raises:
            ValueError: the shapes do not fit, or ``loss_func`` gives another shape than it must.
        """
        self._check(est_targets, targets, reduce_kwargs)
        est, tgt, usable = finite_or_zero(est_targets, targets)  # the others would reach the encoder's weights
        attention = self.attention(est, tgt)
        with torch.autocast(targets.device.type, enabled=False):
            aligned = attention.mT @ est.to(attention.dtype)  # eq. (7)
            loss = losses_in_order(self.loss_func, self.pit_from, aligned, tgt, kwargs)  # eq. (9)
            error = orthogonality(attention)
            bracket = error if self.regularizer == "orthogonality" else sparsity(attention)
            penalty = self.regularization_weight * bracket
            usable = usable & torch.isfinite(penalty)  # a nan of the encoder's is no silence
            loss = torch.where(usable.unsqueeze(1), loss + penalty.unsqueeze(1), torch.inf)
            perm = best_order(self.loss_func, self.pit_from, est, tgt, kwargs)
        self._note(attention.detach(), error.detach().mean(), perm)
        return Assignment(loss, perm)

    def _note(self, attention: Tensor, error: Tensor, perm: Tensor) -> None:
        agreement = attention.gather(1, perm.unsqueeze(1)).mean()
        weight = error.new_tensor(self.regularization_weight)
        self._figures = {"attention_error": error, "attention_agreement": agreement, "attention_lambda": weight}
