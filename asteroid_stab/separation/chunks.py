"""Separates a recording in overlapping windows and keeps the speakers in one order throughout."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from asteroid_stab.errors import StabError, cause
from asteroid_stab.microphones import item_reference
from asteroid_stab.separation.alignment import SpeakerMemory, match

# Windows begin on multiples of this, so that the frames of a model (strides of 2^n or of 5, 10, 20 samples) are at the
# same samples as in one pass over the whole recording.
GRID = 1280
PASSAGE_S = 2.0
_LONGEST_S = 86_400  # a day; more seconds have no number of samples

Forward = Callable[[np.ndarray], np.ndarray]


class Piece(NamedTuple):
    """The next part of a recording.

    Attributes:
        mixture: [N], at the reference microphone.
        estimates: [J, N], in the speakers' order of the first window.
    """

    mixture: np.ndarray
    estimates: np.ndarray


class Layout(NamedTuple):
    """Length and overlap of the windows, in samples.

    Attributes:
        window: length of a window.
        overlap: overlap of two windows. Its first and last third are context, which is discarded at the edge of a
            window; in the middle third one window fades into the other.
    """

    window: int
    overlap: int

    @property
    def fade(self) -> int:
        """Length of the cross-fade."""
        return self.overlap // 3

    @property
    def context(self) -> int:
        """Length that is discarded at an edge of a window that another window covers."""
        return (self.overlap - self.fade) // 2

    def spans(self, n_samples: int) -> Iterator[tuple[int, int]]:
        """Yields first sample and end of every window; the last window is moved back to have full length.

        Example:
            >>> list(Layout(window=5120, overlap=1280).spans(10_000))
            [(0, 5120), (3840, 10000)]
        """
        last = max(0, n_samples - self.window) // GRID * GRID
        hop = (self.window - self.overlap) // GRID * GRID
        yield from ((start, start + self.window) for start in range(0, last, hop))
        yield last, n_samples


def layout(window_s: float, overlap_s: float, sample_rate: int) -> Layout:
    """The windows for lengths in seconds, rounded so that windows begin on the grid.

    Raises:
        StabError: the overlap is longer than half a window or shorter than 30 ms; or the window is shorter than
            two steps of the grid, longer than a day, or no number.
    """
    for name, value in (("window", window_s), ("overlap", overlap_s)):
        if not (math.isfinite(value) and value <= _LONGEST_S):
            raise StabError(f"the {name} must be at most {_LONGEST_S} s, got {value:g} s")
    wanted = Layout(round(window_s * sample_rate) // GRID * GRID, round(overlap_s * sample_rate))
    if wanted.window < 2 * GRID:
        raise StabError(f"a window must be at least {2 * GRID / sample_rate:.2f} s, got {window_s:g} s")
    if not 0.03 * sample_rate <= wanted.overlap <= wanted.window / 2:
        raise StabError(
            f"the overlap must be from 0.03 s to half a window of {wanted.window / sample_rate:.2f} s, "
            f"got {overlap_s:g} s"
        )
    return wanted


def model_forward(model: nn.Module) -> Forward:
    """``model`` as a function of arrays, from a mixture [N] or [C, N] to estimates [J, N], on the model's device.

    Raises:
        StabError: (the function) the model raises an error, for example because the mixture is shorter than its kernel;
            the estimates are not finite; or the memory of the device is full.
    """
    model.eval()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))

    def forward(mixture: np.ndarray) -> np.ndarray:
        n_samples = mixture.shape[-1]
        try:
            with torch.inference_mode():
                estimates = model(torch.from_numpy(mixture)[None].to(device))[0].float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise StabError(f"not enough memory for {n_samples} samples at once; shorter windows need less") from error
        except Exception as error:  # a model may be a user's own
            raise StabError(f"the model cannot separate {n_samples} samples at once: {cause(error)}") from error
        if estimates.ndim != 2 or estimates.shape[1] != n_samples:
            raise StabError(
                f"the model must give [sources, {n_samples}] for {n_samples} samples, got {list(estimates.shape)}"
            )
        if not np.isfinite(estimates).all():
            raise StabError("the model gave estimates that are not finite")
        return estimates

    return forward


def separate_blocks(
    forward: Forward, blocks: Iterable[np.ndarray], n_samples: int, windows: Layout, sample_rate: int
) -> Iterator[Piece]:
    """Yields the estimates of a recording of any length, with memory for two windows.

    A recording of at most one window is separated in one pass. In a longer one, the estimates of every window are
    reordered to match the estimates before them where the windows overlap, and faded into them. If the overlap is
    silent, or two or more speakers pause in it, the model separates the window together with an earlier passage of
    each of these speakers (see :class:`~asteroid_stab.separation.alignment.SpeakerMemory`).

    If an output sample of the model depends on at most ``windows.context`` samples to either side, the result equals
    one pass over the whole recording.

    Args:
        forward: maps a mixture [N], or [C, N] of several microphones, to estimates [J, N], whose order may change from
            call to call.
        blocks: the recording, float32, cut anywhere in time; of several microphones the reference first.
        n_samples: length of the recording.
        windows: length and overlap of the windows.
        sample_rate: in Hz.

    Yields:
        The recording piece by piece, without gaps.

    Raises:
        ValueError: the blocks end before ``n_samples``.

    Example:
        >>> blocks = np.arange(60_000, dtype=np.float32).reshape(6, -1)
        >>> forward = lambda mixture: np.stack([mixture, -mixture, 0 * mixture])
        >>> pieces = list(separate_blocks(forward, blocks, 60_000, layout(2.0, 0.5, 8000), 8000))
        >>> len(pieces), np.array_equal(np.concatenate([p.estimates[0] for p in pieces]), blocks.ravel())
        (6, True)
    """
    buffer = _Buffer(blocks)
    memory = SpeakerMemory(min(round(PASSAGE_S * sample_rate), windows.window // 4))
    before = np.empty((0, 0), dtype=np.float32)
    before_stop = written = 0
    for start, stop in windows.spans(n_samples):
        mixture = buffer.get(start, stop)
        if before_stop == 0:
            estimates = forward(mixture)
        else:
            n_shared = before_stop - start
            committed = before[:, -n_shared:]
            estimates = _aligned(forward, mixture, committed, memory)
            estimates[:, :n_shared] = _faded(committed, estimates[:, :n_shared], windows)
        memory.listen(mixture, estimates)
        done = n_samples if stop == n_samples else stop - windows.context - windows.fade
        new = slice(written - start, done - start)
        yield Piece(item_reference(mixture)[new], estimates[:, new])
        before, before_stop, written = estimates, stop, done


def _aligned(forward: Forward, mixture: np.ndarray, committed: np.ndarray, memory: SpeakerMemory) -> np.ndarray:
    """Estimates [J, N] of ``mixture`` in the order of ``committed`` [J, M], the estimates of its beginning."""
    passages = [memory.passages[j] for j in memory.missing(committed)]
    estimates = forward(np.concatenate([*(p.mixture for p in passages), mixture], axis=-1))
    known = np.concatenate([*(p.committed for p in passages), committed], axis=1)
    n_known = known.shape[1]
    order = match(known, estimates[:, :n_known])
    return estimates[order, n_known - committed.shape[1] :]


def _faded(old: np.ndarray, new: np.ndarray, windows: Layout) -> np.ndarray:
    """Fades ``old`` into ``new``; the two are similar, so their weights sum to one."""
    weight = np.zeros(old.shape[1], dtype=np.float32)
    begin = len(weight) - windows.context - windows.fade
    ramp = (np.arange(windows.fade) + 0.5) / max(1, windows.fade)
    weight[begin : begin + windows.fade] = 0.5 - 0.5 * np.cos(np.pi * ramp)
    weight[begin + windows.fade :] = 1.0
    return old + weight * (new - old)


class _Buffer:
    """The part of a recording that is still needed."""

    def __init__(self, blocks: Iterable[np.ndarray]):
        self.blocks = iter(blocks)
        self.samples: np.ndarray | None = None
        self.start = self.stop = 0

    def get(self, start: int, stop: int) -> np.ndarray:
        """Samples [start, stop); drops the samples before ``start``."""
        parts = [] if self.samples is None else [self.samples]
        while self.stop < stop:
            block = next(self.blocks, None)
            if block is None:
                raise ValueError(f"blocks must hold {stop} samples, got {self.stop}")
            parts.append(block)
            self.stop += block.shape[-1]
        self.samples = np.concatenate(parts, axis=-1)[..., start - self.start :]
        self.start = start
        return self.samples[..., : stop - start]
