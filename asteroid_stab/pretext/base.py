"""Training tasks without labels of sources: what a separator can learn from single speakers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn


class Pretext(nn.Module, ABC):
    """A task that gives a loss for each mixture.

    Its own parameters, if it has any, are trained beside the model's, and are in the checkpoints but in no model file.
    """

    def prepare(self, model: nn.Module) -> None:
        """Makes what depends on the model's sizes, and freezes of the model what will learn nothing.

        Called once, before the optimizer is made.

        Raises:
            StabError: the task cannot be done with this model.
        """

    @abstractmethod
    def forward(
        self, model: nn.Module, mixture: Tensor, sources: Tensor, generators: Sequence[np.random.Generator]
    ) -> Tensor:
        """The loss of every item, lower is better; not finite where it is undefined.

        Args:
            model: is trained; one source.
            mixture: speech with noise.
            sources: the speech.
            generators: of every item, for what is drawn.

        Shapes:
            mixture: [B, T]; sources: [B, 1, T]; the result: [B].
        """

    def figures(self) -> dict[str, Tensor]:
        """What the last batch showed, by name, for the log."""
        return {}

    def warning(self, figures: Mapping[str, float]) -> str:
        """What is wrong with an epoch of these mean figures; empty where nothing is."""
        return ""


def spans(n_frames: int, starts: np.ndarray, length: int) -> np.ndarray:
    """Which of ``n_frames`` frames lie in a span of ``length`` frames that begins at one of ``starts``.

    Example:
        >>> spans(8, np.array([1, 2, 7]), 3).astype(int).tolist()
        [0, 1, 1, 1, 1, 0, 0, 1]
    """
    mask = np.zeros(n_frames + length, bool)
    mask[(starts[:, None] + np.arange(length)).reshape(-1)] = True
    return mask[:n_frames]
