"""Assignments of estimates to sources: search, reordering, and the mean of the losses."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from itertools import permutations
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from asteroid_stab.losses.hungarian import assign_on_device
from asteroid_stab.transfer import readable

MAX_EXHAUSTIVE = 3  # sources; above, n! candidates on the device cost more than SciPy's O(n³) on the CPU


class _Pair(NamedTuple):
    loss: Tensor
    perm: Tensor


class Assignment(_Pair):
    """Losses and the assignment that they are computed under: ``loss, perm = f.assign(...)``.

    Attributes:
        loss: [B, J] loss of each source, or [B] of each item; lower is better. Undefined entries carry no
            gradient and hold ``nan`` (a silent target has no SDR) or ``inf`` (every entry of an item that is
            not finite).
        perm: [B, J] int64; ``perm[b, j]`` is the index of the ESTIMATE given to source j. [K, B, J] where a model
            gives the estimates of K layers.
        figures: scalars that describe how the assignment went, by name, for the log; detached.
        neg_si_sdr: [B, J] the values of ``loss``, detached, if it is exactly the negative SI-SDR of each source in dB,
            with Asteroid's default options; else None.
    """

    figures: Mapping[str, Tensor]
    neg_si_sdr: Tensor | None

    def __new__(
        cls,
        loss: Tensor,
        perm: Tensor,
        figures: Mapping[str, Tensor] | None = None,
        neg_si_sdr: Tensor | None = None,
    ) -> Assignment:
        """Makes a pair that unpacks into loss and perm; the others are attributes only."""
        self = super().__new__(cls, loss, perm)
        self.figures = {} if figures is None else figures
        self.neg_si_sdr = neg_si_sdr
        return self


@functools.lru_cache(maxsize=64)
def all_permutations(n_src: int, device: torch.device) -> Tensor:
    """Returns the [n_src!, n_src] permutations in lexicographic order.

    The table is cached, so that a step sends nothing to the device.

    Example:
        >>> all_permutations(3, torch.device("cpu"))[3]
        tensor([1, 2, 0])
    """
    with torch.inference_mode(False):  # a table made in a validation must serve training too
        return torch.tensor(list(permutations(range(n_src))), dtype=torch.long, device=device)


def permuted(pw: Tensor, perms: Tensor) -> Tensor:
    """Returns the [B, P, J] losses of the sources under each of P permutations [P, J]."""
    return pw[:, perms, torch.arange(perms.shape[1], device=pw.device)]


def best_permutation(pw: Tensor) -> Tensor:
    """Returns the permutation of least total loss of every item; ``perm[b, j]`` is the estimate given to source j.

    Up to three sources all permutations are compared on the device of ``pw``. Above, the Hungarian algorithm solves
    each item: SciPy's on a CPU, and on a GPU one that gives the same permutations, so that nothing leaves it. For more
    than 32 sources, and on devices of other kinds, the whole tensor goes to the CPU in one transfer.

    A source with a loss that is not finite is left out of the search and gets a remaining estimate; an item with only
    such sources keeps its order. Sources with equal losses (silent ones, for example) get their estimates in ascending
    order, so that they never seem to switch. Other ties go to the first permutation in lexicographic order up to three
    sources, and above to the permutation that SciPy finds first: the same costs always give the same permutation.

    Args:
        pw: ``pw[b, i, j]`` = loss of estimate i for source j; lower is better. Its gradient is not used.

    Shapes:
        pw: [B, J_est, J_src] with J_est = J_src; returns: [B, J] int64.

    Raises:
        ValueError: ``pw`` is not [B, J, J].

    Example:
        >>> pw = torch.ones(1, 3, 3)
        >>> pw[0, 1, 0] = pw[0, 2, 1] = pw[0, 0, 2] = 0.0  # estimate 1 is source 0, 2 is 1, 0 is 2
        >>> best_permutation(pw)
        tensor([[1, 2, 0]])

    References:
        Kolbæk et al., "Multitalker speech separation with utterance-level permutation invariant training",
        2017, eq. 4; Dovrat et al., "Many-speakers single channel speech separation with optimal permutation
        training", 2021.
    """
    if pw.ndim != 3 or pw.shape[1] != pw.shape[2]:
        raise ValueError(f"pw must be [batch, n_src, n_src], got {list(pw.shape)}")
    n_src = pw.shape[-1]
    pw = pw.detach()
    cost = pw.masked_fill((pw - pw).sum(1, keepdim=True) != 0, 0.0)  # ∞ − ∞ and nan − nan are nan
    if n_src <= MAX_EXHAUSTIVE:
        perms = all_permutations(n_src, pw.device)
        perm = perms[permuted(cost, perms).sum(-1).argmin(1)]  # of two equal sums, the first one
        return ascending_among_equals(perm, cost) if n_src > 2 else perm  # sums of three may differ by rounding
    if not readable(cost):
        on_device = assign_on_device(cost)
        if on_device is not None:
            return ascending_among_equals(on_device, cost)
    return _by_scipy(cost).to(pw.device)


def _by_scipy(cost: Tensor) -> Tensor:
    """The permutations of least cost on the CPU, as SciPy finds them."""
    rows = cost.mT.cpu().double().numpy()  # [B, J_src, J_est]; SciPy works in float64, which not every device has
    found = np.empty(rows.shape[:2], dtype=np.int64)
    for item, row in enumerate(rows):
        found[item] = linear_sum_assignment(row)[1]
        if (np.diff(np.sort(row.sum(1))) == 0).any():  # rarely: some sources may be equal
            of_item = torch.from_numpy(found[item : item + 1]), torch.from_numpy(row.T[None])
            found[item] = ascending_among_equals(*of_item)[0].numpy()
    return torch.from_numpy(found)


def ascending_among_equals(perm: Tensor, cost: Tensor) -> Tensor:
    """Returns the permutations with the estimates of sources of equal cost in ascending order.

    Args:
        perm: index of the estimate given to each source.
        cost: finite costs of every pair.

    Shapes:
        perm: [B, J] int64; cost: [B, J_est, J_src]; returns: [B, J].

    Example:
        >>> cost = torch.tensor([[[1.0, 0.0, 1.0], [2.0, 3.0, 2.0], [4.0, 5.0, 4.0]]])  # sources 0 and 2 are equal
        >>> ascending_among_equals(torch.tensor([[2, 0, 1]]), cost)
        tensor([[1, 0, 2]])
    """
    equal = (cost.unsqueeze(-1) == cost.unsqueeze(-2)).all(1)  # [B, J, J]
    earlier = equal.tril(-1)
    place = earlier.sum(-1)  # of a source among its equals
    rank = (equal & (perm.unsqueeze(1) < perm.unsqueeze(2))).sum(-1)  # of a source's estimate among theirs
    takes = equal & (rank.unsqueeze(1) == place.unsqueeze(2))
    return (takes * perm.unsqueeze(1)).sum(-1)


def pick(pw: Tensor, perm: Tensor) -> Tensor:
    """Picks the [B, J] entries of ``pw`` [B, J_est, J_src] under ``perm``: ``pw[b, perm[b, j], j]``.

    Example:
        >>> pick(torch.arange(9).view(1, 3, 3), torch.tensor([[1, 2, 0]]))
        tensor([[3, 7, 2]])
    """
    return pw.gather(1, perm.unsqueeze(1)).squeeze(1)


def inverse(perm: Tensor) -> Tensor:
    """Returns the [B, J] index of the source that each estimate is given to.

    Example:
        >>> inverse(torch.tensor([[1, 2, 0]]))
        tensor([[2, 0, 1]])
    """
    order = torch.arange(perm.shape[1], device=perm.device).expand_as(perm)
    return torch.empty_like(perm).scatter_(1, perm, order)


def reorder(est_targets: Tensor, perm: Tensor) -> Tensor:
    """Returns the estimates in the order of the sources they are given to; differentiable.

    Args:
        est_targets: estimates.
        perm: index of the estimate given to each source.

    Shapes:
        est_targets: [B, J, ...]; perm: [B, J] int64; returns: [B, J, ...].

    Example:
        >>> reorder(torch.tensor([[10, 11, 12]]), torch.tensor([[1, 2, 0]]))
        tensor([[11, 12, 10]])
    """
    n_items, n_src = perm.shape
    first = torch.arange(n_items, device=perm.device).unsqueeze(1) * n_src
    return est_targets.flatten(0, 1).index_select(0, (perm + first).flatten()).view(est_targets.shape)


def item_loss(loss: Tensor) -> Tensor:
    """Returns the [B] loss of each item, the mean over its defined sources.

    The loss of an item without a defined source is not finite and has no gradient.

    Args:
        loss: :attr:`Assignment.loss`, [B, J] or [B]; entries that are not finite are undefined.

    Example:
        >>> nan, inf = float("nan"), float("inf")
        >>> item_loss(torch.tensor([[1.0, 2.0, 6.0], [1.0, nan, 3.0], [nan, nan, nan], [inf, inf, inf]]))
        tensor([3., 2., nan, inf])
    """
    defined = torch.isfinite(loss)
    if loss.ndim == 1:
        return torch.where(defined, loss, loss.detach())
    # where(), not a product with the mask: 0·nan is nan, in the value and in the gradient.
    mean = torch.where(defined, loss, 0.0).sum(1) / defined.sum(1).clamp_min(1)
    return torch.where(defined.any(1), mean, loss.detach().sum(1))


def batch_loss(loss: Tensor) -> Tensor:
    """Returns the scalar loss of a batch, the mean over the items that have a loss.

    Args:
        loss: :attr:`Assignment.loss`, [B, J] or [B].

    Raises:
        ValueError: no item has a defined loss; the message names the positions in the batch and the reason.

    Example:
        >>> batch_loss(torch.tensor([[1.0, 3.0], [float("nan"), 5.0], [float("inf"), float("inf")]]))
        tensor(3.5000)
    """
    if (loss - loss == 0).all():  # the usual case; ∞ − ∞ and nan − nan are nan
        return loss.mean()
    items = item_loss(loss)
    defined = torch.isfinite(items)
    if not defined.any():
        silent = items.isnan()
        raise ValueError(
            "a batch must hold an item with a loss, got "
            f"{silent.nonzero().flatten().tolist()} with silent targets only and "
            f"{(~silent).nonzero().flatten().tolist()} with non-finite values (positions in the batch)"
        )
    return torch.where(defined, items, 0.0).sum() / defined.sum()
