"""Separators as people write them, for tests: plain modules, and subclasses of Asteroid's models."""

import asteroid.models
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class TinyMask(nn.Module):
    """Masks on a learnt encoder: [B, T] -> [B, J, T'], where T' lacks what the stride does not reach."""

    def __init__(self, hidden=8, n_speakers=2, stride=8, norm=None, dropout=0.0):
        super().__init__()
        self.n_speakers = n_speakers
        self.encoder = nn.Conv1d(1, hidden, 2 * stride, stride)
        self.norm = nn.BatchNorm1d(hidden) if norm is None else norm
        self.dropout = nn.Dropout(dropout)
        self.mask = nn.Conv1d(hidden, n_speakers * hidden, 1)
        self.decoder = nn.ConvTranspose1d(hidden, 1, 2 * stride, stride)

    def forward(self, x):
        h = torch.relu(self.encoder(x.unsqueeze(1)))
        masks = torch.sigmoid(self.mask(self.dropout(self.norm(h)))).view(len(x), self.n_speakers, -1, h.shape[-1])
        return self.decoder((masks * h.unsqueeze(1)).flatten(0, 1)).view(len(x), self.n_speakers, -1)


class FirstOfMics(TinyMask):
    """The same of the first microphone alone: [B, C, T] -> [B, J, T']."""

    def forward(self, x):
        return super().forward(x[:, 0])


class AllMics(TinyMask):
    """The same of the mean of any number of microphones."""

    def forward(self, x):
        return super().forward(x.mean(1))


class Lasting(nn.Module):
    """Gives ``output(x)`` for a mixture, with one weight."""

    output = staticmethod(lambda x: x)

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.output(self.gain * x)


class Flat(Lasting):
    """[B, T], for any number of sources."""


class NotFinite(Lasting):
    """NaN."""

    output = staticmethod(lambda x: torch.stack([x, x / 0 * 0], 1))


class AsText(Lasting):
    """No tensor."""

    output = staticmethod(lambda x: "two speakers")


class HalfTime(Lasting):
    """[B, 2, T / 2]."""

    output = staticmethod(lambda x: torch.stack([x, -x], 1)[..., ::2])


class Levels(Lasting):
    """The mixture at each of these levels, in dB."""

    def __init__(self, levels_db):
        super().__init__()
        self.levels_db = list(levels_db)

    def forward(self, x):
        return torch.stack([self.gain * 10 ** (level / 20) * x for level in self.levels_db], 1)


class Breaks(Lasting):
    """Raises."""

    @staticmethod
    def output(x):
        """Raises."""
        raise KeyError("speaker")


class ListInTraining(TinyMask):
    """A list of two layers' estimates in training, the last one's else."""

    def forward(self, x):
        est = super().forward(x)
        return [est, est] if self.training else est


class Restless(TinyMask):
    """Changes its buffers, its attributes and all random numbers in each call."""

    def __init__(self):
        super().__init__(dropout=0.5)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("cached", None, persistent=False)
        self.n_calls, self.seen = 0, []

    def forward(self, x):
        import random

        import numpy as np

        self.calls += 1
        self.cached = torch.ones(3)
        self.n_calls += 1
        self.seen.append(len(x))
        self.table = torch.rand(2) + random.random() + np.random.default_rng().random() + np.random.rand()  # noqa: NPY002
        return super().forward(x)


class LazyMask(nn.Module):
    """A layer whose size is not known yet."""

    def __init__(self):
        super().__init__()
        self.mask = nn.LazyConv1d(2, 1)

    def forward(self, x):
        return self.mask(x.unsqueeze(1))


class OwnConvTasNet(asteroid.models.ConvTasNet):
    """A class that Asteroid does not know by name."""


class ConvTasNet(asteroid.models.ConvTasNet):
    """A class that is not Asteroid's of the same name."""


def two_of(output, gain=1.0):
    """A function of ``outputs``: the estimates of a net that gives [B, T]."""
    return torch.stack([gain * output, -output], 1)


def no_net(hidden=8):
    """A function, and no class."""
    return TinyMask(hidden)


class Chain(nn.Module):
    """Masks after a chain of residual blocks: [B, T] -> [B, J, T']."""

    def __init__(
        self, n_blocks=3, hidden=8, n_speakers=2, order=None, leak=False, twice=False, in_place=False, recomputed=None
    ):
        super().__init__()
        self.n_speakers, self.order, self.leak, self.twice = n_speakers, order or list(range(n_blocks)), leak, twice
        self.in_place, self.recomputed = in_place, recomputed
        self.encoder = nn.Conv1d(1, hidden, 16, 8)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Conv1d(hidden, hidden, 1), nn.Tanh()) for _ in range(n_blocks)])
        for block in self.blocks:
            block.width = hidden
            if in_place:  # whose last operation does not need its output for the gradient
                block.append(nn.Conv1d(hidden, hidden, 1))
        self.mask = nn.Conv1d(hidden, n_speakers * hidden, 1)
        self.decoder = nn.ConvTranspose1d(hidden, 1, 16, 8)
        self.unused = nn.Linear(1, 1)

    def forward(self, x):
        rep = hidden = self.encoder(x.unsqueeze(1))
        skips = 0
        for i in self.order:
            width = self.blocks[i].width  # as nets do that ask their layers for sizes
            hidden = self.block(i, hidden)
            hidden = self.block(i, hidden) if self.twice else hidden
            skips = skips + hidden
        if self.in_place:
            hidden += 1
        masks = torch.sigmoid(self.mask(skips if self.leak else hidden))
        masks = masks.view(len(x), self.n_speakers, width, -1)
        return self.decoder((masks * rep.unsqueeze(1)).flatten(0, 1)).view(len(x), self.n_speakers, -1)

    def block(self, i, hidden):
        """The output of a block; ``recomputed`` in the backward pass: ``reentrant`` or ``not reentrant``."""
        if self.recomputed is None or not self.training:
            return self.blocks[i](hidden)
        return checkpoint(self.blocks[i], hidden, use_reentrant=self.recomputed == "reentrant")


class SkipBlock(nn.Module):
    """A block that returns what it adds to the state, and what it adds to the sum of skip connections."""

    def __init__(self, hidden):
        super().__init__()
        self.inner, self.skip = nn.Conv1d(hidden, hidden, 1), nn.Conv1d(hidden, hidden, 1)

    def forward(self, hidden):
        inner = torch.tanh(self.inner(hidden))
        return inner, self.skip(inner)


class Added(nn.Module):
    """Masks after blocks whose outputs are added outside of them: to the state, and (``skips``) to another sum."""

    def __init__(self, n_blocks=3, hidden=8, n_speakers=2, skips=False, shared=False, normed=False):
        super().__init__()
        self.n_speakers, self.skips, self.normed = n_speakers, skips, normed
        self.encoder = nn.Conv1d(1, hidden, 16, 8)
        make = SkipBlock if skips else lambda size: nn.Sequential(nn.Conv1d(size, size, 1), nn.Tanh())
        blocks = [make(hidden) for _ in range(1 if shared else n_blocks)]
        self.blocks = nn.ModuleList(blocks * n_blocks if shared else blocks)
        self.mask = nn.Conv1d(hidden, n_speakers * hidden, 1)
        self.decoder = nn.ConvTranspose1d(hidden, 1, 16, 8)

    def forward(self, x, n_blocks=None):
        rep = hidden = self.encoder(x.unsqueeze(1))
        total = torch.zeros_like(hidden)
        for block in self.blocks[:n_blocks]:
            output = block(hidden)
            added, skip = output if self.skips else (output, 0)
            hidden, total = hidden + added, total + skip
            if self.normed:
                hidden = hidden / (1 + hidden.norm())
        masks = torch.sigmoid(self.mask(total if self.skips else hidden)).view(len(x), self.n_speakers, *rep.shape[1:])
        return self.decoder((masks * rep.unsqueeze(1)).flatten(0, 1)).view(len(x), self.n_speakers, -1)


class UShaped(nn.Module):
    """Halves the frames, doubles them again and adds what it had: [B, T] -> [B, J, T]. Its layers differ in shape."""

    def __init__(self, n_speakers=2, hidden=8):
        super().__init__()
        self.n_speakers = n_speakers
        self.front = nn.Conv1d(1, hidden, 3, padding=1)
        self.down = nn.Conv1d(hidden, 2 * hidden, 4, 2, 1)
        self.rows = nn.Conv2d(1, 4, 1)  # [B, 4, 2 * hidden, T / 2]
        self.mean = nn.AdaptiveAvgPool1d(1)
        self.up = nn.ConvTranspose1d(2 * hidden, hidden, 4, 2, 1)
        self.end = nn.Conv1d(2 * hidden, n_speakers, 1)

    def forward(self, x):
        hidden = self.front(x.unsqueeze(1))
        low = self.rows(torch.tanh(self.down(hidden)).unsqueeze(1)).mean(1)
        up = self.up(low * self.mean(low))
        return self.end(torch.cat([hidden, up[..., : hidden.shape[-1]]], 1))
