"""Several microphones: which of them a model sees, and the reference, at which sources and improvements are measured.

A mixture is ``[T]``, or ``[C, T]`` of C > 1 microphones, and a batch of them ``[B, T]`` or ``[B, C, T]``. The first
microphone is the reference: the sources ``[J, T]`` are what it hears of them. A data set brings the reference to the
front (:class:`MicChoice`), so that nothing after it needs its number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from asteroid.models import BaseModel
from torch import Tensor, nn

from asteroid_stab.errors import StabError

ANY = 2
"""Number of microphones that a model for any number is tried with."""


class MicChoice(NamedTuple):
    """Microphones that a user chooses from the channels of the mixtures' files.

    Attributes:
        mics: the channels, from 0, in the order in which the model sees them; None: all.
        ref_mic: the channel of the reference; None: the first one of ``mics``.

    Example:
        >>> MicChoice(None, None).channels(3), MicChoice([3, 1, 2], ref_mic=2).channels(4), MicChoice([1]).channels(2)
        ((0, 1, 2), (2, 3, 1), (1,))
    """

    mics: Sequence[int] | None = None
    ref_mic: int | None = None

    def channels(self, n_channels: int) -> tuple[int, ...]:
        """Returns the chosen channels of files with ``n_channels``, the reference first.

        Raises:
            StabError: there is no such channel.
        """
        chosen = range(n_channels) if self.mics is None else self.mics
        reference = chosen[0] if self.ref_mic is None else self.ref_mic
        for name, channel in (*(("mics", mic) for mic in chosen), ("ref_mic", reference)):
            if channel >= n_channels:
                got = f"{{argument}} must be of the {n_channels} channels of the mixtures, from 0 to {n_channels - 1}"
                raise StabError(f"{got}, got {channel}", name)
        return (reference, *(mic for mic in chosen if mic != reference))


def check_mics(mics: Any, ref_mic: Any) -> MicChoice:
    """Returns the choice of these arguments of a corpus.

    Raises:
        ValueError: ``mics`` is neither None nor a list of different channels from 0, or ``ref_mic`` is none of them.
    """
    if mics is not None:
        mics = list(mics) if isinstance(mics, Sequence) and not isinstance(mics, str) else [mics]
        if not mics or not all(map(_is_channel, mics)) or len({*mics}) < len(mics):
            raise ValueError(f"mics must be a list of different channels from 0, or null for all, got {mics}")
    if ref_mic is not None and not (_is_channel(ref_mic) and (mics is None or ref_mic in mics)):
        known = "a channel from 0" if mics is None else f"one of mics={mics}"
        raise ValueError(f"ref_mic must be {known}, or null for the first, got {ref_mic!r}")
    return MicChoice(mics, ref_mic)


def _is_channel(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def reference(mixture: Tensor) -> Tensor:
    """Returns the reference microphone's part ``[B, T]`` of mixtures ``[B, C, T]``, or mixtures ``[B, T]`` themselves.

    Example:
        >>> reference(torch.zeros(2, 3, 8)).shape, reference(torch.zeros(2, 8)).shape
        (torch.Size([2, 8]), torch.Size([2, 8]))
    """
    return mixture[:, 0] if mixture.ndim == 3 else mixture


def item_reference(mixture: Any) -> Any:
    """Returns the reference microphone's part ``[T]`` of one mixture ``[C, T]``, or a mixture ``[T]`` itself.

    Example:
        >>> item_reference(torch.zeros(3, 8)).shape, item_reference(torch.zeros(8)).shape
        (torch.Size([8]), torch.Size([8]))
    """
    return mixture[0] if mixture.ndim == 2 else mixture


def n_mics_of(model: nn.Module) -> int | None:
    """Number of microphones that a model takes; None: any number, or a module that does not say it.

    Asteroid's models say it as ``in_channels``.

    Example:
        >>> from asteroid.models import DPRNNTasNet, FasNetTAC
        >>> n_mics_of(DPRNNTasNet(n_src=2, n_filters=8, bn_chan=4, hid_size=4, chunk_size=4, n_repeats=1))
        1
        >>> n_mics_of(FasNetTAC(n_src=2)), n_mics_of(nn.Identity())
        (None, None)
    """
    return model.in_channels if isinstance(model, BaseModel) else None


def check_takes(model: nn.Module, n_mics: int) -> None:
    """Checks that a model takes mixtures of a number of microphones.

    Args:
        model: any module; one that does not say how many it takes is not checked.
        n_mics: C, of the data.

    Raises:
        StabError: it takes another number.
    """
    takes = n_mics_of(model)
    if takes is None or takes == n_mics:
        return
    if takes == 1:
        mend = "set data.mics=[0], which takes the first one (convtasnet_mics and fasnet_tac are models for several)"
    else:
        mend = f"set model.n_mics={n_mics}" + (f", or data.mics to {takes} of them" if n_mics > takes else "")
    plural = "s" if takes > 1 else ""
    raise StabError(f"{type(model).__name__} takes {takes} microphone{plural}, and the mixtures have {n_mics}: {mend}")


def check_single(model: nn.Module, what: str) -> None:
    """Checks that a model works on one microphone.

    Args:
        model: any module; one that does not say how many it takes is not checked.
        what: what needs it, for the message.

    Raises:
        StabError: it takes several.
    """
    takes = n_mics_of(model)
    if takes is not None and takes > 1:
        raise StabError(f"{what} is of one microphone, and {type(model).__name__} takes {takes}")


def check_same(n_mics: Mapping[str, int]) -> int:
    """Returns the number of microphones that several sets have, which are used as one.

    Args:
        n_mics: number of microphones of each set, by its name.

    Raises:
        StabError: they differ.

    Example:
        >>> check_same({"train": 2, "valid": 2})
        2
    """
    if len({*n_mics.values()}) > 1:
        listed = ", ".join(f"{name} {number}" for name, number in n_mics.items())
        raise StabError(f"sets that belong together must have as many microphones, got {listed}: mics=[0] takes one")
    return next(iter(n_mics.values()))


def noise_for(model: nn.Module, n_samples: int, n_items: int | None = None) -> Tensor:
    """Returns noise as loud as speech, the same at each call, of the shape of the mixtures that a model takes.

    Args:
        model: with any number of microphones it gets two.
        n_samples: T.
        n_items: B; None: one mixture without the axis of items.

    Shapes:
        - returns ``[T]`` or ``[C, T]``, of several items ``[B, T]`` or ``[B, C, T]``.
    """
    takes = n_mics_of(model) if isinstance(model, BaseModel) else 1
    n_mics = ANY if takes is None else takes
    shape = [*([] if n_items is None else [n_items]), *([] if n_mics == 1 else [n_mics]), n_samples]
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
