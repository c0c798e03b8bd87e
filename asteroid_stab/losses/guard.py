"""Guards of a loss against items that are not finite, and checks of shapes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from asteroid_stab.transfer import readable


def blanked(mixture: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mixtures ``[B, ..., T]`` with zeros for those that are not finite, and a mask ``[B]`` of these.

    A mixture that is not finite would poison a model's weights even if the gradient at the output is zero (0 · nan).
    """
    broken = ~torch.isfinite(mixture).flatten(1).all(1)
    return mixture.masked_fill(broken.view(-1, *[1] * (mixture.ndim - 1)), 0.0), broken


def without_broken(loss: Tensor, mixture: Tensor | None, broken: Tensor | None) -> Tensor:
    """Returns losses that are infinite for items whose mixture is not finite.

    Args:
        loss: [B] or [B, J].
        mixture: [B, ..., T]; None where there is none.
        broken: [B] items whose mixture is not finite; None: looks at ``mixture``.
    """
    if broken is None:
        if mixture is None:
            return loss
        broken = ~torch.isfinite(mixture).flatten(1).all(1)
    return loss.masked_fill(broken.view(-1, *[1] * (loss.ndim - 1)), torch.inf)


def finite_or_zero(est_targets: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the signals with zeros for items that are not finite, and a mask [B] of the finite items."""
    usable = _finite_items(est_targets) & _finite_items(targets)
    if readable(usable) and usable.all():  # reading the mask would stall a GPU
        return est_targets, targets, usable
    keep = usable.view(-1, *[1] * (targets.ndim - 1))
    return torch.where(keep, est_targets, 0.0), torch.where(keep, targets, 0.0), usable


def guarded(
    compute: Callable[[Tensor, Tensor], Tensor], est: Tensor, targets: Tensor, shape: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Returns ``compute(est, targets)`` of ``shape`` [B, ...], and a mask [B] of the items that are usable.

    Masking a loss that is not finite does not save the other items: the backward of the steps before it gives
    0·inf = nan. The signals of an item that is not usable are therefore replaced by another item's before its graph
    is made.
    """
    usable = _finite_items(est) & _finite_items(targets)
    if not readable(usable):
        return _guarded_without_a_look(compute, est, targets, shape, usable)
    while usable.any():
        losses = compute(_stand_in(est, usable), _stand_in(targets, usable))
        computed = losses.detach().reshape(len(est), -1).isfinite().all(1)
        if (computed | ~usable).all():
            return losses, usable
        usable = usable & computed  # finite signals, but not a finite loss
    return _no_losses(est, usable, shape), usable


def _guarded_without_a_look(
    compute: Callable[[Tensor, Tensor], Tensor], est: Tensor, targets: Tensor, shape: tuple[int, ...], usable: Tensor
) -> tuple[Tensor, Tensor]:
    """Finds the usable items by a computation without a graph, so that a GPU is never waited for.

    Losses are item by item, so that an item that has one beside others has it beside itself too. Where no item is
    usable, noise stands in, and its losses are not returned.
    """
    with torch.no_grad():
        losses = compute(*_beside(est, targets, usable))
        usable = usable & losses.reshape(len(est), -1).isfinite().all(1)
    losses = compute(*_beside(est, targets, usable))
    return torch.where(usable.any(), losses, _no_losses(est, usable, shape)), usable


def _beside(est: Tensor, targets: Tensor, usable: Tensor) -> list[Tensor]:
    """The signals, with a usable item's, or noise, without gradient, in place of unusable ones."""
    first, some = usable.to(torch.int).argmax(), usable.any()
    found = []
    for k, signals in enumerate((est, targets), start=1):
        size = signals[0].numel()
        noise = torch.arange(1, size + 1, device=signals.device).mul(12.9898 * k).sin().mul(43758.5453).frac()
        stand_in = torch.where(some, signals.detach().index_select(0, first.view(1))[0], noise.view(signals.shape[1:]))
        keep = usable.view(-1, *[1] * (signals.ndim - 1))
        found.append(torch.where(keep, signals, stand_in.to(signals.dtype)))
    return found


def _no_losses(est: Tensor, usable: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Zeros of ``shape`` with a graph, where no item is usable."""
    nothing = torch.where(usable.view(-1, *[1] * (est.ndim - 1)), est, 0.0).abs().flatten(1).sum(1)
    return nothing.view(-1, *[1] * (len(shape) - 1)).expand(shape)


def _finite_items(signals: Tensor) -> Tensor:
    """Returns a mask [B] of the items whose values are all finite."""
    # x·0 is 0 or nan; on the CPU its sum takes a tenth of the time of torch.isfinite.
    return signals.detach().mul(0).flatten(1).sum(1) == 0


def _stand_in(signals: Tensor, usable: Tensor) -> Tensor:
    """Returns the signals, with a copy of the first usable item's, without gradient, in place of unusable ones."""
    if usable.all():
        return signals
    stand_in = signals.detach()[usable.to(torch.int).argmax()]
    return torch.where(usable.view(-1, *[1] * (signals.ndim - 1)), signals, stand_in)


def check_shape(name: str, axes: str, losses: Tensor, wanted: tuple[int, ...]) -> None:
    """Checks that losses have the shape that a loss function must return.

    Raises:
        ValueError: names the shapes wanted and got.
    """
    if losses.shape != wanted:
        raise ValueError(f"{name} must give losses of shape {axes}, {list(wanted)}, got {list(losses.shape)}")


def check_sources(est_targets: Tensor, targets: Tensor) -> None:
    """Checks that estimates and targets are [B, J, ...] with the same B and J.

    Raises:
        ValueError: names the shapes wanted and got.
    """
    for name, signal in (("est_targets", est_targets), ("targets", targets)):
        if signal.ndim < 2:
            raise ValueError(f"{name} must be [batch, n_src, ...], got {list(signal.shape)}")
    if targets.shape[1] == 0:
        raise ValueError(f"targets must hold at least 1 source, got shape {list(targets.shape)}")
    for axis, name in enumerate(("items", "sources")):
        if est_targets.shape[axis] != targets.shape[axis]:
            raise ValueError(
                f"est_targets must hold as many {name} as targets, {targets.shape[axis]}, got "
                f"{est_targets.shape[axis]} (shapes {list(est_targets.shape)} and {list(targets.shape)})"
            )
