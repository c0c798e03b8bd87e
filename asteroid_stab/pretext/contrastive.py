"""The continuous contrastive task: finding the frame that was masked among other frames of the utterance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import instance_norm, normalize
from torch.utils.checkpoint import checkpoint

from asteroid_stab.errors import StabError
from asteroid_stab.models.layering import host_of
from asteroid_stab.pretext.base import Pretext, spans
from asteroid_stab.transfer import send

_ROWS = 512
COLLAPSED = 0.05
"""The system warns of a ``target_spread`` below this."""


def _likeness(c: Tensor, q: Tensor, columns: Tensor) -> Tensor:
    """Inner products of every column of c ``[D, R]`` with the columns of q that ``columns`` ``[R, C]`` names."""
    return (c.unsqueeze(2) * q[:, columns]).sum(0)


class ContrastivePrediction(Pretext):
    r"""Masks spans of the encoder's frames by a learnt vector; the masker must find the frame that was there.

    .. math:: L = -\log \frac{\exp(\cos(c_t, q_t) / \tau)}{\sum_{k \in \{t\} \cup D_t} \exp(\cos(c_t, q_k) / \tau)}

    c is a projection of the masker's output before its mask head, q a projection of the encoder's frames before they
    were masked, and D are distractors: other masked frames of the same utterance, drawn uniformly. Every frame starts a
    span with probability ``span_prob``, spans may overlap, and a draw that masks fewer than two frames is repeated.

    The encoder learns from both sides. All frames may become alike, which makes the task impossible (its loss is then
    log(1 + distractors)). ``target_spread`` in the log shows it: 1 for directions that are spread evenly, 0 for a
    single direction; below 0.05 the system warns.

    The frames are normalised over time, channel by channel, before they are projected to q (wav2vec 2.0 normalises over
    channels): frames of a separator's encoder are not negative, and would all point the same way from the start.

    wav2vec 2.0 has a quantiser on q with its own loss; whether the paper has one is not known. Here q is continuous, as
    the task's name says. The decoder and the mask head learn nothing and keep their values.

    Args:
        span_prob: probability that a frame starts a span.
        span: frames in a span. wav2vec 2.0's frames are 20 ms apart, a separator's about 1 ms.
        n_distractors: distractors for each masked frame.
        temperature: tau.
        n_dims: dimensions of the projections.

    Raises:
        StabError: an argument is out of its range.

    References:
        Huang et al., Interspeech 2021, section 3.1 (CC); Baevski et al., "wav2vec 2.0", 2020, arXiv 2006.11477,
        eq. (3).
    """

    def __init__(
        self,
        span_prob: float = 0.065,
        span: int = 10,
        n_distractors: int = 100,
        temperature: float = 0.1,
        n_dims: int = 256,
    ):
        super().__init__()
        if not 0 < span_prob <= 1:
            raise StabError(f"span_prob must be above 0 and at most 1, got {span_prob}")
        for name, value in (("span", span), ("n_distractors", n_distractors), ("n_dims", n_dims)):
            if value < 1:
                raise StabError(f"{name} must be at least 1, got {value}")
        if not temperature > 0:
            raise StabError(f"temperature must be above 0, got {temperature}")
        self.span_prob, self.span, self.n_distractors, self.temperature = span_prob, span, n_distractors, temperature
        self.n_dims = n_dims
        self._figures: dict[str, Tensor] = {}

    def prepare(self, model: nn.Module) -> None:
        """Builds the projections for the model's sizes, and freezes its parts that get no gradient.

        Raises:
            StabError: the model's layers are not known.
        """
        self._host = host_of(model)
        tf_rep, context = self._frames(model, torch.randn(1, 4000))
        self.mask_vector = nn.Parameter(0.1 * torch.rand(tf_rep.shape[1], 1))
        self.of_context = nn.Conv1d(context.shape[1], self.n_dims, 1)
        self.of_target = nn.Conv1d(tf_rep.shape[1], self.n_dims, 1)
        context.square().sum().backward()
        for parameter in model.parameters():
            parameter.requires_grad_(parameter.requires_grad and parameter.grad is not None)
            parameter.grad = None

    def _frames(self, model: nn.Module, mixture: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The encoder's frames ``[B, N, L]``, and the masker's output for the masked frames ``[B, C, L]``."""
        tf_rep = model.forward_encoder(mixture.unsqueeze(1))  # type: ignore[operator]
        return tf_rep, self._context(model, tf_rep, mask)

    def _context(self, model: nn.Module, tf_rep: Tensor, mask: Tensor | None) -> Tensor:
        masked = tf_rep if mask is None else torch.where(mask.unsqueeze(1), self.mask_vector.to(tf_rep), tf_rep)
        plain: Any = model
        *_, last = self._host.layers(plain, masked)
        return self._host.frames(plain, last, masked)

    def draw(self, n_frames: int, generator: np.random.Generator) -> np.ndarray:
        """Draws the masked frames, ``[L]``."""
        if n_frames < 2:
            raise StabError(f"a signal must have at least 2 frames to be masked, got {n_frames}")
        while True:
            mask = spans(n_frames, np.flatnonzero(generator.random(n_frames) < self.span_prob), self.span)
            if mask.sum() > 1:
                return mask

    def forward(
        self, model: nn.Module, mixture: Tensor, sources: Tensor, generators: Sequence[np.random.Generator]
    ) -> Tensor:
        tf_rep = model.forward_encoder(mixture.unsqueeze(1))  # type: ignore[operator]
        drawn = [self.draw(tf_rep.shape[-1], generator) for generator in generators]
        context = self._context(model, tf_rep, send(np.stack(drawn), mixture.device))
        contexts, targets = self.of_context(context).float(), self.of_target(instance_norm(tf_rep)).float()
        losses, right, spread = [], [], []
        for i, (mask, generator) in enumerate(zip(drawn, generators, strict=True)):
            places = send(np.flatnonzero(mask), mixture.device)
            c, q = normalize(contexts[i][:, places], dim=0), normalize(targets[i][:, places], dim=0)
            loss, accuracy = self.info_nce(c, q, generator)
            losses.append(loss)
            right.append(accuracy)
            spread.append(q.detach().std(1).square().sum())
        self._figures = {
            "contrastive_accuracy": torch.stack(right).mean(),
            "target_spread": torch.stack(spread).mean(),
        }
        return torch.stack(losses)

    def info_nce(self, c: Tensor, q: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The mean loss over frames of one utterance, and the share of frames whose true frame is the most similar.

        Args:
            c: unit vectors of the context.
            q: unit vectors of the targets.
            generator: draws the distractors.

        Shapes:
            c, q: [D, M], M of at least 2.
        """
        n = c.shape[1]
        others = generator.integers(n - 1, size=(n, self.n_distractors))
        others += others >= np.arange(n)[:, None]  # every frame but the true one, with equal probability
        columns = send(np.concatenate([np.arange(n)[:, None], others], 1), c.device)
        # Only the drawn pairs, some rows at a time: all pairs of a DPRNN's frames would take half a gigabyte.
        parts = zip(c.split(_ROWS, 1), columns.split(_ROWS), strict=True)
        like = torch.cat([checkpoint(_likeness, own, q, drawn, use_reentrant=False) for own, drawn in parts])
        every = like / self.temperature
        # A tie does not count as found: collapsed targets are all alike.
        accuracy = (every[:, :1] > every[:, 1:]).all(1).float().mean()
        return (every.logsumexp(1) - every[:, 0]).mean(), accuracy.detach()

    def figures(self) -> dict[str, Tensor]:
        """The share of frames that are found, and the spread of the targets' directions."""
        return self._figures

    def warning(self, figures: Mapping[str, float]) -> str:
        """Warns of targets that have collapsed."""
        if figures["target_spread"] >= COLLAPSED:
            return ""
        return f"the targets of the contrastive task collapse to one direction (spread {figures['target_spread']:.3f})"
