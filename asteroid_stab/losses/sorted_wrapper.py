"""Sort order: estimates in the order of a key of the sources, mixed with exact PIT."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from asteroid_stab.losses.assignment import Assignment, best_permutation
from asteroid_stab.losses.base_wrapper import PairwiseLossWrapper
from asteroid_stab.losses.pairs import PairLoss
from asteroid_stab.losses.pairwise import upcast
from asteroid_stab.losses.pit_wrapper import best_assignment
from asteroid_stab.run.plan import RunPlan

KEYS = ("onset", "energy")


class SortedPITLossWrapper(PairwiseLossWrapper):
    r"""The loss of estimates in a fixed order of the sources, mixed with the loss of the best permutation.

    .. math:: L = a(e)\, L_{sort} + (1 - a(e))\, L_{PIT}

    Under :math:`L_{sort}` estimate 0 is for the source with the least key, estimate 1 for the next one, and so on: the
    label is a property of the sources, and nothing is searched. Keys, computed on the crop: ``onset``, where a source
    begins, first come first; ``energy``, loudest first. Sources with equal keys (as on a crop in which both speak from
    the first sample) get the best permutation among themselves, as in the public code of the paper.
    a = ``sort_weight``; at 0, the default, this is exact PIT to the bit, at 1 the sorted loss alone.

    The loss is [B, J]. The permutation is the best one, or the sorted one at a = 1. Figures, with a > 0:
    ``sort_weight``; ``sort_agreement``, share of items whose best permutation is the sorted one.

    The paper sorts the speakers of a diarization by arrival time. Its use for separation, the key ``energy`` and the
    schedule are ours.

    Args:
        loss_func: loss of Asteroid's kind for ``pit_from``; lower is better.
        key: ``onset`` or ``energy``.
        sort_weight: a, from 0 to 1.
        sort_schedule: returns a for an epoch, counted from 0; ``None`` leaves ``sort_weight`` as it is.
        onset_db: a source begins where it first comes within so many dB of its peak on the crop, both measured from its
            median, below 0.
        onset_step: onsets are equal that fall into the same step of so many samples.
        pit_from: ``pw_mtx`` or ``pw_pt``, see ``PITLossWrapper``.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> from asteroid.losses import pairwise_neg_sisdr
        >>> loss_func = SortedPITLossWrapper(pairwise_neg_sisdr, sort_weight=1.0)
        >>> late, first, second = torch.randn(3, 30, generator=torch.Generator().manual_seed(0))
        >>> late[:20], second[:10] = 0, 0
        >>> targets = torch.stack([late, first, second]).unsqueeze(0)
        >>> loss_func.assign(targets + 0.1, targets).perm  # the best would be 0, 1, 2
        tensor([[2, 0, 1]])

    References:
        Park et al., "Sortformer: seamless integration of speaker diarization and ASR by bridging timestamps and
        tokens", arXiv 2409.06656: the sort loss, and its sum with the permutation-invariant one.
    """

    def __init__(
        self,
        loss_func: Callable[..., Tensor],
        key: str = "onset",
        sort_weight: float = 0.0,
        sort_schedule: Callable[[int], float] | None = None,
        onset_db: float = -40.0,
        onset_step: int = 1,
        pit_from: str = "pw_mtx",
    ):
        super().__init__(loss_func, pit_from)
        if key not in KEYS:
            raise ValueError(f"key must be one of {', '.join(KEYS)}, got {key!r}")
        if not -200 <= onset_db < 0:
            raise ValueError(f"onset_db must be below 0, from -200 on, got {onset_db}")
        if onset_step < 1:
            raise ValueError(f"onset_step must be at least 1 sample, got {onset_step}")
        self.key, self.onset_db, self.onset_step, self.sort_schedule = key, onset_db, onset_step, sort_schedule
        self.sort_weight = sort_weight
        self.set_epoch(0)  # fails now if the schedule returns no valid weight

    @property
    def sort_weight(self) -> float:
        """The weight of the sorted loss."""
        return self._sort_weight

    @sort_weight.setter
    def sort_weight(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"sort_weight must be from 0 to 1, got {value}")
        self._sort_weight = float(value)

    def set_epoch(self, epoch: int) -> None:
        """Sets the schedule's ``sort_weight``."""
        if self.sort_schedule is not None:
            self.sort_weight = self.sort_schedule(epoch)

    def neutral(self, plan: RunPlan) -> str | None:
        """Returns which setting leaves plain PIT."""
        if not self.sort_weight and self.sort_schedule is None:
            return "sort_weight=0 is plain PIT (loss.sort_weight=0.5, say, mixes both)"
        return "with one source there is one order" if plan.n_src == 1 else None

    def _assign(self, est_targets: Tensor, targets: Tensor, pair_loss: PairLoss, ids: Tensor | None) -> Assignment:
        weight = self.sort_weight
        if not weight:
            return best_assignment(est_targets, targets, pair_loss)
        places = self._places(targets)
        agree: list[Tensor] = []

        def search(costs: Tensor) -> Tensor:
            perm = among_equals(costs, places)
            agree.append((perm == best_permutation(costs)).all(1).sum() / max(1, len(perm)))
            return perm

        by_key = best_assignment(est_targets, targets, pair_loss, search=search)
        figures = {"sort_weight": agree[0].new_full((), weight), "sort_agreement": agree[0]}
        if weight == 1:
            return Assignment(by_key.loss, by_key.perm, figures, by_key.neg_si_sdr)
        best = best_assignment(est_targets, targets, pair_loss)
        loss = weight * by_key.loss + (1 - weight) * best.loss  # a L_sort + (1 - a) L_PIT
        return Assignment(loss, best.perm, figures)

    def _places(self, targets: Tensor) -> Tensor:
        """Keys of the sources [B, J], least first; a source without a sound comes last."""
        (signals,) = upcast(targets.detach().flatten(2))
        if self.key == "energy":
            return -(signals - signals.mean(-1, keepdim=True)).square().sum(-1)
        signals = signals - signals.median(-1, keepdim=True).values  # an offset is no sound
        level, n_samples = signals.abs(), signals.shape[-1]
        sounds = (level >= level.amax(-1, keepdim=True) * 10 ** (self.onset_db / 20)) & (level > 0)
        onset = torch.where(sounds.any(-1), sounds.to(torch.uint8).argmax(-1), n_samples)
        return onset.div(self.onset_step, rounding_mode="floor")


def among_equals(costs: Tensor, keys: Tensor) -> Tensor:
    """Returns the permutation that sorts the sources by their keys, the best one among sources of equal keys.

    Args:
        costs: ``costs[b, i, j]`` of giving estimate i to source j; not finite for a source without a loss.
        keys: of the sources, least first.

    Shapes:
        costs: [B, J_est, J_src]; keys: [B, J]; returns: [B, J] int64.

    Example:
        >>> costs = torch.tensor([[[0.0, 1.0, 5.0], [9.0, 9.0, 0.0], [9.0, 0.0, 0.0]]])
        >>> among_equals(costs, torch.tensor([[7, 7, 3]]))  # source 2 first; then source 0 or 1
        tensor([[1, 2, 0]])
    """
    first = (keys.unsqueeze(1) < keys.unsqueeze(2)).sum(-1)  # place of the first among a source's equals
    last = (keys.unsqueeze(1) <= keys.unsqueeze(2)).sum(-1) - 1
    place = torch.arange(keys.shape[1], device=keys.device).view(1, -1, 1)
    outside = (place < first.unsqueeze(1)) | (place > last.unsqueeze(1))
    # More than any sum of costs may differ by, so that no source leaves its places.
    size = costs.nan_to_num(0.0, 0.0, 0.0).abs().flatten(1).amax(1).view(-1, 1, 1) if costs.numel() else 0.0
    return best_permutation(costs + outside * (2.0 * keys.shape[1] * size + 1.0))
