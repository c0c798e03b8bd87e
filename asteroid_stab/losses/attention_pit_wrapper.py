"""AttentionPIT: an attention matrix, computed by a trained encoder, in place of the permutation."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from asteroid_stab.errors import StabError
from asteroid_stab.losses.assignment import Assignment, pick
from asteroid_stab.losses.attention import orthogonality, sparsity
from asteroid_stab.losses.base_wrapper import PairwiseLossWrapper
from asteroid_stab.losses.guard import finite_or_zero
from asteroid_stab.losses.pairs import PairLoss
from asteroid_stab.run.plan import RunPlan

REGULARIZERS = ("orthogonality", "sparsity")
SHORTEST = 16  # samples; four strides of 2


class SignalEncoder(nn.Sequential):
    """The encoder of AttentionPIT: four strided convolutions over the J signals together.

    Kernel 8, stride 2, J channels, each but the last followed by instance normalisation and SiLU. Padding 3 gives
    the paper's N' = N / 16 (floor at each layer). Our readings: the first convolution has J input channels, and the
    normalisation has no parameters; 8J² + J parameters a layer.

    With J input channels the signals are encoded jointly: exchanging two of them does not simply exchange their codes,
    so the loss depends on the order of the estimates. ``shared=True``, a variant that the paper does not have, encodes
    each signal alone with one channel, and the loss does not depend on the order.

    Args:
        n_src: J, the number of sources.
        shared: one channel for each signal, instead of J for all together.

    Shapes:
        - input [B, J, N] with N at least 16, output [B, J, N // 16]

    References:
        Kameoka et al., "AttentionPIT", ICASSP 2022, section 2.3.
    """

    def __init__(self, n_src: int, shared: bool = False):
        n_chan = 1 if shared else n_src
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Conv1d(n_chan, n_chan, 8, stride=2, padding=3), nn.InstanceNorm1d(n_chan), nn.SiLU()]
        super().__init__(*layers, nn.Conv1d(n_chan, n_chan, 8, stride=2, padding=3))
        self.n_src, self.shared = n_src, shared

    def forward(self, signals: Tensor) -> Tensor:
        """Encodes signals [B, J, N] as [B, J, N // 16]."""
        if not self.shared:
            return super().forward(signals)
        return super().forward(signals.flatten(0, 1).unsqueeze(1)).unflatten(0, signals.shape[:2]).flatten(2)


class AttentionPITLossWrapper(PairwiseLossWrapper):
    r"""The loss of estimates that an attention matrix A aligns, plus a penalty where A is not a permutation.

    .. math:: A = \operatorname{softmax}_{\text{columns}}(K Q^\top / \sqrt{N'}), \qquad K = g_\phi(\hat S),
              \; Q = g_\phi(S), \qquad \tilde S = A^\top \hat S

    The loss compares :math:`\tilde S` with S in the order given, plus ``regularization_weight`` times one of

    - ``orthogonality``, eq. (10): :math:`\frac1{J^2} \sum |A A^\top - I|`
    - ``sparsity``, eq. (11): :math:`\frac1J \sum_j (\|a_j\|_1 / \|a_j\|_2 - 1) / (\sqrt J - 1)` over the rows
      :math:`a_j`. It is 0/0 for a row of zeros (an output that no target uses); such a row counts 1 here, the largest
      distance from a permutation, and it is 0 for J = 1. One output for all targets is not ruled out.

    The encoder's parameters are trained together with the model's, by the same optimizer, and are in the checkpoints,
    but not in the model that is exported. ``Assignment.perm`` is the best permutation, which is searched only to be
    reported: the loss [B, J] does not use it. In the encoder a silent target is a code that is constant in time.

    Figures: ``attention_error``, the bracket of eq. (10), 0 for permutations, with either regularizer;
    ``attention_agreement``, mean weight that A gives to the pairs of the best permutation, 1 if A is this permutation;
    ``attention_lambda``, the regularization weight.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``; lower is better.
        n_src: J, the number of sources; the encoder works for no other.
        regularizer: ``orthogonality`` or ``sparsity``.
        weight_schedule: returns ``regularization_weight`` for an epoch; ``None`` leaves the attribute unchanged, which
            is 0.
        shared_encoder: encode each signal alone, see :class:`SignalEncoder`.
        pit_from: ``pw_mtx`` or ``pw_pt``, see ``PITLossWrapper``.

    Raises:
        ValueError: an argument is out of range, or ``regularization_weight`` is set below 0.

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
        Kameoka, Seki, Li, Watanabe, "AttentionPIT: soft permutation invariant training for audio source separation with
        attention mechanism", ICASSP 2022, section 2.2, eq. (4) to (11).
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
        self.set_epoch(0)  # fails now if the schedule returns no valid weight

    @property
    def regularization_weight(self) -> float:
        """Weight of the penalty (lambda), in units of ``loss_func``."""
        return self._regularization_weight

    @regularization_weight.setter
    def regularization_weight(self, weight: float) -> None:
        if not weight >= 0:
            raise ValueError(f"regularization_weight must be at least 0, got {weight}")
        self._regularization_weight = float(weight)

    def set_epoch(self, epoch: int) -> None:
        """Sets the schedule's ``regularization_weight``."""
        if self.weight_schedule is not None:
            self.regularization_weight = self.weight_schedule(epoch)

    def check(self, plan: RunPlan) -> None:
        """Checks that there are as many sources as the encoder was made for, and no mixture too short for it."""
        if plan.n_src != self.n_src:
            raise StabError(
                f"AttentionPIT's encoder was made for n_src={self.n_src}, the data have {plan.n_src} sources"
            )
        shortest = min(getattr(plan.train_set, "lengths", ()), default=SHORTEST)
        if shortest < SHORTEST:
            raise StabError(
                f"AttentionPIT needs mixtures of at least {SHORTEST} samples, the shortest of the training set has "
                f"{shortest}: set loader.pad_short=false and loader.segment_s to at least {SHORTEST} samples"
            )

    def attention(self, est_targets: Tensor, targets: Tensor) -> Tensor:
        """Returns ``A[b, i, j]``, the share of estimate i in target j; the columns sum to 1. float32 or wider.

        Args:
            est_targets: estimates, [B, J, N].
            targets: targets, [B, J, N].

        Raises:
            ValueError: the signals are not [B, n_src, N], or shorter than 16 samples.
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

    def _assign(self, est_targets: Tensor, targets: Tensor, pair_loss: PairLoss, ids: Tensor | None) -> Assignment:
        est, tgt, usable = finite_or_zero(est_targets, targets)  # nan would reach the encoder's weights
        attention = self.attention(est, tgt)
        with torch.autocast(targets.device.type, enabled=False):
            aligned = attention.mT @ est.to(attention.dtype)  # eq. (7)
            loss = pair_loss.in_order(aligned, tgt)  # eq. (9)
            error = orthogonality(attention)
            bracket = error if self.regularizer == "orthogonality" else sparsity(attention)
            penalty = self.regularization_weight * bracket
            usable = usable & torch.isfinite(penalty)  # a nan from the encoder must not read as silence
            loss = torch.where(usable.unsqueeze(1), loss + penalty.unsqueeze(1), torch.inf)
            perm = pair_loss.best_order(est, tgt)
        figures = {
            "attention_error": error.detach().mean(),
            "attention_agreement": pick(attention.detach(), perm).mean(),
            "attention_lambda": error.detach().new_full((), self.regularization_weight),
        }
        return Assignment(loss, perm, figures)
